"""A checkpoint is data that somebody may have sent: nothing that it names is run."""

from pathlib import Path

import pytest
import torch
from PIL import Image

import nucleist
from nucleist.types import UserError


def checkpoint(path: Path, model: dict[str, object]) -> Path:
    config = {
        "model": model,
        "data": {},
        "normalize": {"_target_": "nucleist.ops.normalize.FullRange"},
    }
    torch.save({"state_dict": {"net.w": torch.zeros(1)}, "nucleist": {"config": config}}, path)
    return path


def test_a_checkpoint_cannot_name_a_function_to_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bad = checkpoint(tmp_path / "bad.ckpt", {"_target_": "os.system", "command": "touch pwned"})
    with pytest.raises(UserError, match=r"bad\.ckpt: calls 'os\.system' as model"):
        nucleist.load(bad)
    nested = {"_target_": "nucleist.models.mask_rcnn", "backbone": {"_target_": "os.getcwd"}}
    with pytest.raises(UserError, match=r"calls 'os\.getcwd' as model"):
        nucleist.load(checkpoint(bad, nested))
    with pytest.raises(UserError, match=r"calls 'os\.getcwd' as model"):
        nucleist.load(bad, trust="mypackage")
    assert not Path("pwned").exists()


class Evil:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("pwned"),))


def test_a_checkpoint_with_code_is_refused_unrun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "nucleist": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(UserError, match=r"evil\.ckpt"):
        nucleist.load("evil.ckpt", trust="pathlib")
    assert not Path("pwned").exists()


def test_a_checkpoint_of_another_version_is_named(tmp_path: Path) -> None:
    model = {"_target_": "nucleist.models.mask_rcnn_pa", "an_old_option": 1}
    model["backbone"] = {"_target_": "nucleist.models.compact_fpn"}
    path = checkpoint(tmp_path / "old.ckpt", model)
    with pytest.raises(UserError, match=r"old\.ckpt: of another version of nucleist"):
        nucleist.load(path)


def test_a_folder_of_results_is_not_made_for_a_checkpoint_that_is_none(tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    Image.new("L", (8, 8)).save(image)
    (tmp_path / "text.ckpt").write_text("hello")
    with pytest.raises(UserError, match=r"text\.ckpt"):
        nucleist.predict(tmp_path / "text.ckpt", [image], tmp_path / "out")
    assert not (tmp_path / "out").exists()
