"""What a user gets wrong: one line with the value and the remedy, status 2, no traceback."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from support.runs import SMALL, data_root, said

from nucleist.cli.main import main
from nucleist.data import BBBC038


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "experiment=bbbc360_25_pq"], ["bbbc360_25_pa"]),
        (["train", "model=mask_rcn"], ["mask_rcnn"]),
        (["train", "data.anotation_fraction=0.5"], ["data.annotation_fraction"]),
        (["train", "modell=mask_rcnn"], ["modell", "model"]),
        (["train", "data=nothing_like_it"], ["nothing_like_it", "bbbc360"]),
        (["train", "seed"], ["key=value"]),
        (["train", "data.annotation_fraction=0"], ["fraction=0", "(0, 1]|above 0"]),
        (["train", "data.annotation_fraction=1.5"], ["1.5"]),
        (["train", "data.exemplars=0"], ["exemplars=0"]),
        (["train", "data=bbbc360", "data_root=/nowhere/at/all"], ["/nowhere/at/all", "download"]),
        (["train", "attention=[p9]"], ["p9", "p2"]),
        (["train", "weights=/nowhere/w.pkl"], ["/nowhere/w.pkl"]),
        (
            ["train", "model=canonical_shape", "data.supervision=instances"],
            ["data.supervision=instances", "canonical_shape", "set data.supervision=binary"],
        ),
        (
            ["train", "model=dist", "augment.focus=0", "data.supervision=binary"],
            ["data.supervision=binary", "dist", "set data.supervision=instances"],
        ),
        (
            ["train", "model=mask_rcnn", "augment.focus=0", "data.supervision=binary"],
            ["data.supervision=binary", "mask_rcnn", "set data.supervision=instances"],
        ),
        (["train", "model=deeplabv3", "augment.focus=0.5"], ["augment.focus=0.5", "focus=0"]),
        (["train", "model=canonical_shape", "data.pasted=2"], ["data.pasted=2", "data.pasted=0"]),
        (["train", "model=dist", "model.h=-1"], ["model.h=-1", "0 or more"]),
        (
            ["train", "model=deeplabv3", "model.backbone.name=resnet50", "weights=coco"],
            ["weights=coco", "Mask R-CNN's, not for model deeplabv3", "weights=imagenet"],
        ),
        (["train", "seed=abc"], ["seed=abc", "not a number"]),
        (["train", "seed=-1"], ["seed=-1", "0 to 2^32"]),
        (["train", "data.batch_size=0"], ["data.batch_size=0", "1 or more"]),
        (["train", "augment.crop=0"], ["augment.crop=0", "null"]),
        (["train", "optim.optimizer.lr=abc"], ["optim.optimizer.lr=abc", "not a number"]),
        (["train", "model.center.threshold=1.5"], ["model.center.threshold=1.5", "0 to 1"]),
        (["train", "model.missed_ratio=-1"], ["model.missed_ratio=-1", "0 or more"]),
        (["train", "model.anchor_sizes=[[8]]"], ["model.anchor_sizes=[[8]]", "3 levels"]),
        (["train", "resume=/nowhere.ckpt"], ["/nowhere.ckpt", "resume=auto"]),
        (["train", "data.splits.val=foo"], ["'foo'", "data.splits.val"]),
        (
            ["train", "data=kumar", "data.source.root=x", "data.source.nuclei=3"],
            ["data.source.nuclei'"],
        ),
        (["train", "launcher=submitit"], ["launcher", "-m"]),
        (["train", "recipe=paper"], ["recipe", "does not go with this command"]),
        (["evaluate", "checkpoint=x", "preset=compact"], ["preset", "does not go"]),
        (["report"], ["runs", "nucleist report --help"]),
        (["evaluate", "checkpoint=/nowhere.ckpt"], ["/nowhere.ckpt"]),
        (["evaluate"], ["checkpoint="]),
        (["predict", "/nowhere.ckpt", "/no/image.png", "-o", "x"], ["/no/image.png"]),
        (["frobnicate"], ["train"]),
        (["demo", "model=mask_rcnn"], ["model"]),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, list) else None,
)
def test_one_line_and_status_2(
    arguments: list[str],
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    line = said(capsys, *arguments)
    for word in words:
        assert any(part in line for part in word.split("|")), line
    assert not list(tmp_path.iterdir()), "nothing half-written"


def checkpoint(path: Path, model: dict) -> Path:
    config = {"model": model, "normalize": {"_target_": "nucleist.ops.normalize.FullRange"}}
    torch.save({"state_dict": {"net.w": torch.zeros(1)}, "nucleist": {"config": config}}, path)
    return path


def test_a_checkpoint_cannot_name_a_function_to_call(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = checkpoint(tmp_path / "bad.ckpt", {"_target_": "os.system", "command": "touch pwned"})
    line = said(capsys, "evaluate", f"checkpoint={bad}")
    assert "os.system" in line
    nested = {"_target_": "nucleist.models.mask_rcnn", "backbone": {"_target_": "os.getcwd"}}
    assert "os.getcwd" in said(capsys, "evaluate", f"checkpoint={checkpoint(bad, nested)}")


class Evil:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("pwned"),))


def test_a_checkpoint_with_code_is_refused_unrun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "nucleist": Evil()}, tmp_path / "evil.ckpt")
    line = said(capsys, "evaluate", "checkpoint=evil.ckpt")
    assert "evil.ckpt" in line
    assert not Path("pwned").exists()


def test_a_foreign_checkpoint_is_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"state_dict": {"w": torch.zeros(1)}}, tmp_path / "other.ckpt")
    assert "not a checkpoint of nucleist" in said(
        capsys, "evaluate", f"checkpoint={tmp_path / 'other.ckpt'}"
    )
    (tmp_path / "text.ckpt").write_text("hello")
    assert "text.ckpt" in said(capsys, "evaluate", f"checkpoint={tmp_path / 'text.ckpt'}")


@pytest.mark.parametrize("name", ["a0", "LAST"])
def test_a_truncated_image_of_the_data_set_is_named(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether it is a training image or, the last of all, one of evaluation."""
    root = data_root(tmp_path / "data")
    source = BBBC038(str(root / "bbbc038"))
    name = source.splits()["test"][-1] if name == "LAST" else name
    assert name in source.splits()["test" if name != "a0" else "train"]
    image = root / "bbbc038" / name / "images" / f"{name}.png"
    image.write_bytes(image.read_bytes()[:100])
    small = [o for o in SMALL if "source" not in o]
    line = said(
        capsys, "train", "data=bbbc038", f"data_root={root}", f"runs={tmp_path / 'runs'}", *small
    )
    assert f"{name}.png" in line
    assert not (tmp_path / "runs").exists()


def test_a_folder_of_results_is_not_made_for_a_checkpoint_that_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "a.png"
    Image.new("L", (8, 8)).save(image)
    (tmp_path / "text.ckpt").write_text("hello")
    out = tmp_path / "out"
    assert "text.ckpt" in said(
        capsys, "predict", str(tmp_path / "text.ckpt"), str(image), "-o", str(out)
    )
    assert not out.exists()


def test_a_checkpoint_of_another_version_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = {"_target_": "nucleist.models.mask_rcnn_pa", "an_old_option": 1}
    model["backbone"] = {"_target_": "nucleist.models.compact_fpn"}
    path = checkpoint(tmp_path / "old.ckpt", model)
    line = said(capsys, "evaluate", f"checkpoint={path}")
    assert "old.ckpt: of another version of nucleist" in line


def test_what_is_refused_when_training_begins_leaves_no_run_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["train", "model=mask_rcnn", "callbacks=warmup", *SMALL, f"runs={tmp_path / 'runs'}"]
    assert main(given) == 2
    assert "callbacks=warmup is for model=mask_rcnn_pa" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
