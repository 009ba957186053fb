import numpy as np
import pytest
import torch
from support.runs import PLAIN, shared

import nucleist
from nucleist.training.scale import typical_diameter


def squares(*sides: int) -> np.ndarray:
    labels = np.zeros((40, 90), np.int32)
    left = 0
    for number, side in enumerate(sides, 1):
        labels[:side, left : left + side] = number
        left += side
    return labels


def test_the_median_nucleus_as_a_circle() -> None:
    maps = [squares(4, 6), squares(10), np.zeros((5, 5), np.int32)]
    assert typical_diameter(maps) == pytest.approx(2 * np.sqrt(36 / np.pi))
    assert typical_diameter(maps, of_mean=True) == pytest.approx(2 * np.sqrt(152 / 3 / np.pi))
    assert typical_diameter([squares()]) is None and typical_diameter([]) is None
    unknown = np.where(squares(6) > 0, 1, -1)
    assert typical_diameter([unknown]) == pytest.approx(2 * np.sqrt(36 / np.pi))


@pytest.mark.slow
def test_a_checkpoint_says_how_large_its_nuclei_were(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    model = nucleist.load(shared(tmp_path_factory, PLAIN), device="cpu")
    assert 8 < model.trained.diameter < 18  # radii of 5 to 8 px were asked for
    assert model.trained.pixel_size is None
    stored = torch.load(model.path, weights_only=True)["nucleist"]
    assert stored["nucleus_diameter"] == model.trained.diameter
    image = np.random.default_rng(0).integers(0, 200, (40, 50, 3)).astype(np.uint8)
    assert model.predict(image, diameter=2 * model.trained.diameter).labels.shape == (40, 50)


@pytest.mark.slow
def test_a_checkpoint_without_it_is_loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = nucleist.load(shared(tmp_path_factory, PLAIN), device="cpu").path
    content = torch.load(path, weights_only=True)
    for key in ("nucleus_diameter", "pixel_size"):
        del content["nucleist"][key]
    old = tmp_path_factory.mktemp("old") / "old.ckpt"
    torch.save(content, old)
    model = nucleist.load(old, device="cpu")
    assert model.trained.diameter is None
    with pytest.raises(nucleist.UserError, match="diameter=9: the model does not say"):
        model.predict(np.zeros((40, 50, 3), np.uint8), diameter=9)
