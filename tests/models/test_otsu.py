"""Otsu against scikit-image, on bright and dark nuclei, and through a whole run."""

import numpy as np
import pytest
import torch
from conftest import draw
from skimage.filters import threshold_otsu
from skimage.measure import label
from support.sources import InMemory, grid

import nucleist
from nucleist.data.targets import to_tensor
from nucleist.files import read_json_if_there
from nucleist.models import otsu
from nucleist.types import UserError


def found(image, **options):
    net = otsu(**options).eval()
    return net([to_tensor(image)])[0]


def test_the_foreground_is_scikit_images():
    image, _ = draw((60, 80), 7, 0)
    gray = image @ np.array([0.2989, 0.5870, 0.1140], np.float32)
    wanted = gray > threshold_otsu(gray)
    prediction = found(image, instances="components", min_size=0, clean=0.0)
    assert ((prediction["label_map"].numpy() > 0) == wanted).all()
    assert len(prediction["scores"]) == label(wanted, connectivity=1).max()


@pytest.mark.parametrize("nuclei", ["auto", "bright", "dark"])
def test_bright_and_dark_nuclei(nuclei):
    labels = grid(*range(1, 7))
    image = np.where(labels > 0, 0.8, 0.2).astype(np.float32)[..., None].repeat(3, 2)
    bright, dark = (found(one, nuclei=nuclei)["label_map"] for one in (image, 1 - image))
    if nuclei != "dark":
        assert ((bright.numpy() > 0) == (labels > 0)).all() and bright.max() == 6
    if nuclei != "bright":
        assert ((dark.numpy() > 0) == (labels > 0)).all()
    if nuclei == "dark":
        assert bright.numpy()[0, -1] > 0  # the ground


def test_brighter_nuclei_have_higher_scores():
    image = np.full((20, 40, 3), 0.1, np.float32)
    image[5:15, 5:15], image[5:15, 25:35] = 0.7, 0.9
    prediction = found(image)
    assert prediction["label_map"][10, 30] == 1 and prediction["label_map"][10, 10] == 2
    assert prediction["scores"][0].item() == pytest.approx(1)
    assert 0.5 < prediction["scores"][1] < 1


@pytest.mark.parametrize("size", [(1, 1), (17, 31)])
def test_an_image_of_one_value_has_no_nuclei(size):
    prediction = found(np.full((*size, 3), 0.4, np.float32))
    assert prediction["label_map"].shape == size and len(prediction["scores"]) == 0


def test_it_has_nothing_to_learn():
    net = otsu()
    assert not list(net.parameters()) and not net.state_dict() and not net.can.trains
    assert net.train()([torch.rand(3, 8, 8)], [{}]) == {}
    assert net.device == torch.device("cpu")


@pytest.mark.parametrize("option", ["nuclei", "instances"])
def test_an_unknown_option_is_told(option):
    with pytest.raises(UserError, match=rf"model\.{option}=x is unknown; use one of"):
        otsu(**{option: "x"})


@pytest.mark.slow
@pytest.mark.parametrize("data", [{}, {"held_out": None}])
def test_a_run_without_a_training_predicts(tmp_path, data):
    labels = grid(*range(1, 9))
    source = InMemory([labels], [] if data else [grid(1, 2, 3, side=8, gap=15, shape=(40, 50))])
    run = nucleist.train(
        source, model="otsu", trainer="cpu", data=data, runs=str(tmp_path), normalize="full_range"
    )
    summary = read_json_if_there(run / "summary.json")
    assert summary["steps"] == summary["parameters"] == 0 and summary["model"] == "Otsu"
    model = nucleist.load(run)
    image = source.read("train-0").image
    assert model.predict(image).labels.max() == 8
    if not data:
        assert summary["test"]["map"]["pooled"] == 1
    changed = nucleist.load(run, options={"nuclei": "dark"})
    assert changed.predict(255 - image).labels.max() == 8
