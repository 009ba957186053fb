"""Settings and data that cannot be trained with: one line with the value and the remedy."""

from pathlib import Path

import pytest
from support.runs import IMAGES, SMALL, data_root

import nucleist
from nucleist.data import BBBC038
from nucleist.types import UserError

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        (["experiment=bbbc360_25_pq"], ["bbbc360_25_pa"]),
        (["data.annotation_fraction=0"], ["fraction=0", "(0, 1]|above 0"]),
        (["data.annotation_fraction=1.5"], ["1.5"]),
        (["data.exemplars=0"], ["exemplars=0"]),
        (["data=bbbc360", "data_root=/nowhere/at/all"], ["/nowhere/at/all", "download"]),
        (["attention=[p9]"], ["p9", "p2"]),
        (["weights=/nowhere/w.pkl"], ["/nowhere/w.pkl"]),
        (
            ["model=canonical_shape", "data.supervision=instances"],
            ["data.supervision=instances", "canonical_shape", "set data.supervision=binary"],
        ),
        (
            ["model=dist", "augment.focus=0", "data.supervision=binary"],
            ["data.supervision=binary", "dist", "set data.supervision=instances"],
        ),
        (
            ["model=mask_rcnn", "augment.focus=0", "data.supervision=binary"],
            ["data.supervision=binary", "mask_rcnn", "set data.supervision=instances"],
        ),
        (["model=deeplabv3", "augment.focus=0.5"], ["augment.focus=0.5", "focus=0"]),
        (["model=canonical_shape", "data.pasted=2"], ["data.pasted=2", "data.pasted=0"]),
        (["model=dist", "model.h=-1"], ["model.h=-1", "0 or more"]),
        (
            ["model=deeplabv3", "model.backbone.name=resnet50", "weights=coco"],
            ["weights=coco", "do not fit DeepLabV3", "weights=imagenet"],
        ),
        (["seed=abc"], ["seed=abc", "not a number"]),
        (["seed=-1"], ["seed=-1", "0 to 2^32"]),
        (["steps=0"], ["steps=0", "1 or more"]),
        (["data.batch_size=0"], ["data.batch_size=0", "1 or more"]),
        (["augment.crop=0"], ["augment.crop=0", "null"]),
        (["model.center.threshold=1.5"], ["model.center.threshold=1.5", "[0, 1]"]),
        (["model.missed_ratio=-1"], ["model.missed_ratio=-1", "0 or more"]),
        (["model.anchor_sizes=[[8]]"], ["model.anchor_sizes=[[8]]", "3 levels"]),
        (["resume=/nowhere.ckpt"], ["/nowhere.ckpt", "resume=auto"]),
        (["resume=/tmp"], ["resume=/tmp: no last.ckpt in this folder", "run folder, or auto"]),
        (["data.splits.val=foo"], ["'foo'", "data.splits.val"]),
        (["data=kumar", "data.source.root=x", "data.source.nuclei=3"], ["data.source.nuclei'"]),
        (["model=mask_rcnn", "callbacks=warmup"], ["is for model=mask_rcnn_pa"]),
    ],
    ids=lambda value: " ".join(value[-3:]),
)
def test_what_cannot_be_trained_is_one_line_and_leaves_no_run(
    words: list[str], messages: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    drawn = not words[0].startswith(("data=", "experiment="))
    with pytest.raises(UserError) as error:
        nucleist.train(overrides=[*(IMAGES if drawn else []), *words])
    line = str(error.value)
    for message in messages:
        assert any(part in line for part in message.split("|")), line
    assert "\n" not in line
    assert not list(tmp_path.iterdir()), "nothing half-written"


@pytest.mark.parametrize("name", ["a0", "LAST"])
def test_a_truncated_image_of_the_data_set_is_named(name: str, tmp_path: Path) -> None:
    """Whether it is a training image or, the last of all, one of evaluation."""
    root = data_root(tmp_path / "data")
    source = BBBC038(str(root / "bbbc038"))
    name = source.splits()["test"][-1] if name == "LAST" else name
    assert name in source.splits()["test" if name != "a0" else "train"]
    image = root / "bbbc038" / name / "images" / f"{name}.png"
    image.write_bytes(image.read_bytes()[:100])
    small = [word for word in SMALL if "source" not in word]
    with pytest.raises(UserError, match=f"{name}.png"):
        nucleist.train("bbbc038", overrides=small, data_root=root, runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
