"""A net and a reader of the user's own package train and load again, after consent only."""

import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from support.lines import Lines

import nucleist
from nucleist.cli.main import main
from nucleist.config.compose import compose
from nucleist.config.settings import overrides_of
from nucleist.types import UserError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_pictures")]

CODE = '''
import numpy as np
import torch
from scipy import ndimage
from torch import nn

import nucleist
from nucleist.ops.labels import boxes_of


class Tiny(nucleist.Net):
    """Foreground of every pixel, and its connected pieces as nuclei."""

    def __init__(self, width=4, levels=(1,)):
        super().__init__()
        self.levels = list(levels)
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 1, 3, padding=1)
        )

    def forward(self, images, targets=None):
        maps = [self.body(image[None])[0, 0] for image in images]
        if self.training:
            pairs = zip(maps, nucleist.models.net.given(targets), strict=True)
            loss = nn.functional.binary_cross_entropy_with_logits
            parts = [loss(found, (true["label_map"] > 0).float()) for found, true in pairs]
            return {"loss_foreground": torch.stack(parts).mean()}
        return [self.nuclei(found.sigmoid()) for found in maps]

    def nuclei(self, scores):
        pieces, count = ndimage.label(scores.numpy() > 0.5)
        ids = np.arange(1, count + 1)
        means = torch.tensor(np.atleast_1d(ndimage.mean(scores.numpy(), pieces, ids)))
        order = means.argsort(descending=True)
        place = torch.zeros(count + 1, dtype=torch.int32)
        place[order + 1] = torch.arange(1, count + 1, dtype=torch.int32)
        labels = place[torch.from_numpy(pieces).long()]
        boxes = boxes_of(labels, count)
        return {"boxes": boxes, "scores": means[order].float(), "label_map": labels}


def tiny(width=4, levels=(1,)):
    return Tiny(width, levels)


def no_net():
    return nn.Conv2d(3, 1, 1)


class Squares(nucleist.Source):
    """Bright squares, in every image the same."""

    grouped = True

    def __init__(self, count=3, side=8):
        self.count, self.side = count, side

    def splits(self):
        return {part: [f"{part}-{i}" for i in range(self.count)] for part in ("train", "test")}

    def read(self, image_id):
        labels = np.zeros((48, 48), np.int32)
        for i in range(3):
            labels[4 + 14 * i : 4 + 14 * i + self.side, 20 : 20 + self.side] = i + 1
        image = np.repeat(np.where(labels > 0, 200, 20)[..., None], 3, 2).astype(np.uint8)
        return nucleist.Record(image_id, image, labels)
'''

SMALL = ["trainer=cpu", "steps=30", "val_every=30", "augment.crop=32", "optim.optimizer.lr=0.05"]
SMALL += ["data.batch_size=2", "attention=[]"]
OWN = {"model": {"_target_": "usernets.tiny", "width": 6, "levels": [1, 2]}}
READER = {"data": {"source": {"_target_": "usernets.Squares", "side": 9}}}


@pytest.fixture(scope="module", autouse=True)
def package(tmp_path_factory: pytest.TempPathFactory):
    """The module `usernets`, which Python finds."""
    folder = tmp_path_factory.mktemp("package")
    (folder / "usernets.py").write_text(textwrap.dedent(CODE))
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))
    sys.modules.pop("usernets", None)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    given = {**OWN, **READER, "runs": runs, "trust": "usernets"}
    return nucleist.train(overrides=SMALL, progress=Lines(), **given)


def test_a_net_and_a_reader_of_ones_own_train_and_load(run: Path) -> None:
    assert run.parent.name == "squares_tiny"
    model = nucleist.load(run, device="cpu", trust="usernets")
    assert model.config["model"] == {"_target_": "usernets.tiny", "width": 6, "levels": [1, 2]}
    assert model.net.levels == [1, 2]  # type: ignore[attr-defined]
    from usernets import Squares

    record = Squares(side=9).read("x")
    result = model.predict(record.image)
    # 30 steps are enough for bright squares: three pieces, each about 81 px
    assert len(result) == len(result.scores) == 3
    assert np.mean((result.labels > 0) == (record.labels > 0)) > 0.95
    found = nucleist.evaluate(model, trust="usernets", overrides=["trainer=cpu"])
    assert found.summary["test"]["recall"]["pooled"] == 1
    assert nucleist.evaluate(model, data=Squares(side=9)).summary == found.summary


def test_without_consent_nothing_of_it_is_called(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import usernets

    def called(*arguments: object, **named: object) -> None:
        raise AssertionError("was called")

    for name in ("tiny", "Squares"):
        monkeypatch.setattr(usernets, name, called)
    for settings in (OWN, READER, {**OWN, "trust": "others"}):
        refuses = pytest.raises(UserError, match=r"calls 'usernets\.\w+' as .*trust=usernets")
        with refuses as error:
            nucleist.train(overrides=SMALL, runs=tmp_path / "runs", **settings)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "runs").exists()
    for use in (
        lambda: nucleist.load(run),
        lambda: nucleist.load(run / "checkpoints" / "last.ckpt", trust=["others"]),
        lambda: nucleist.reproduce(run),
    ):
        with pytest.raises(UserError, match=r"calls 'usernets\.\w+' as .*trust=usernets") as error:
            use()
        assert "\n" not in str(error.value)


def test_data_of_ones_own_are_read_after_consent_only(run: Path) -> None:
    model = nucleist.load(run, device="cpu", trust="usernets")
    with pytest.raises(UserError, match=r"'usernets\.Squares' as data.*trust=usernets"):
        nucleist.evaluate(model)
    with pytest.raises(UserError, match=r"'usernets\.Squares' as data.*trust=usernets"):
        nucleist.draw_figures(model, "train-0", run / "figures" / "own")


def test_a_run_with_it_is_reproduced(run: Path, tmp_path: Path) -> None:
    found = nucleist.reproduce(run, runs=tmp_path, trust="usernets")
    assert found.is_equal and found.weights == "equal", found.differences


def test_what_is_no_net_is_one_line(tmp_path: Path) -> None:
    settings = {**READER, "model": {"_target_": "usernets.no_net"}, "trust": "usernets"}
    with pytest.raises(
        UserError, match=r"made a Conv2d; give a subclass of nucleist\.Net"
    ) as error:
        nucleist.train(overrides=SMALL, runs=tmp_path / "runs", **settings)
    assert "\n" not in str(error.value) and not (tmp_path / "runs").exists()


def test_an_argument_that_does_not_fit_is_one_line(tmp_path: Path) -> None:
    wrong = {"model": {"_target_": "usernets.tiny", "widht": 3}}
    settings = {**READER, **wrong, "trust": "usernets"}
    with pytest.raises(UserError, match=r"model: .*unexpected keyword argument 'widht'"):
        nucleist.train(overrides=SMALL, runs=tmp_path / "runs", **settings)


def test_the_words_of_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "model={_target_: usernets.tiny, width: 6}",
        "data.source={_target_: usernets.Squares}",
    ]
    words += [*SMALL, "trainer=debug", "trust=usernets", "-o", str(tmp_path)]
    assert main(["train", *words]) == 0
    run = capsys.readouterr().out.strip()
    assert Path(run, "summary.json").is_file()
    assert main(["evaluate", run, "trainer=cpu"]) == 2
    assert "trust=usernets" in capsys.readouterr().err
    assert main(["evaluate", run, "trainer=cpu", "trust=usernets"]) == 0


def test_a_dict_with_a_target_takes_the_place_of_the_default() -> None:
    config = compose("train", overrides_of({**OWN, **READER, "steps": 3}))
    assert dict(config.model) == {"_target_": "usernets.tiny", "width": 6, "levels": [1, 2]}
    assert dict(config.data.source) == {"_target_": "usernets.Squares", "side": 9}
    assert config.steps == 3 and config.data.batch_size == 4
    other = compose("train", ["model={_target_: usernets.tiny, seed: ${seed}}", "seed=5"])
    assert other.model.seed == 5
    nested = compose("train", overrides_of({"model": {"roi": {"score_thresh": 0.3}}}))
    assert nested.model.roi.score_thresh == 0.3 and "mask_rcnn_pa" in nested.model._target_
    with pytest.raises(UserError, match="there is no key 'modle'; did you mean 'model'"):
        compose("train", ["modle={_target_: usernets.tiny}"])
    with pytest.raises(UserError, match="is not an override"):
        compose("train", ["model={_target_: usernets.tiny"])
