"""One file for a model: what comes back, and what is refused."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from nucleist.models.weights.portable import compressed, read_about, write_portable
from nucleist.types import UserError

STATE = {
    "conv.weight": torch.linspace(-3, 3, 36).reshape(4, 1, 3, 3),
    "bn.running_var": torch.tensor([1e-9, 1.0, 7e4]),
    "bn.num_batches_tracked": torch.tensor(12),
}


def test_kernels_are_halved_and_vectors_are_not(tmp_path: Path) -> None:
    small = compressed(STATE)
    assert small["conv.weight"].dtype == torch.float16
    assert torch.allclose(small["conv.weight"].float(), STATE["conv.weight"], rtol=2**-11)
    assert torch.equal(small["bn.running_var"], STATE["bn.running_var"])
    assert small["bn.num_batches_tracked"].dtype == torch.int64


def test_what_is_said_comes_back_and_the_same_gives_the_same_bytes(tmp_path: Path) -> None:
    about = {"config": {"model": {"a": 1}, "normalize": {}}, "calibrated_threshold": 0.4}
    for name in ("one", "two"):
        write_portable(tmp_path / f"{name}.safetensors", STATE, dict(reversed(about.items())))
    one = tmp_path / "one.safetensors"
    assert read_about(one) == {"format": 1, **about}
    assert one.read_bytes() == (tmp_path / "two.safetensors").read_bytes()


def test_files_of_others_say_nothing(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "a.safetensors")
    assert read_about(tmp_path / "a.safetensors") == {}


def test_damaged_and_later_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"no header")
    with pytest.raises(UserError, match="not readable"):
        read_about(path)
    with pytest.raises(UserError, match="not readable"):
        read_about(tmp_path / "missing.safetensors")
    save_file({"a": torch.zeros(2)}, path, {"nucleist": json.dumps({"format": 2})})
    with pytest.raises(UserError, match="of a later version"):
        read_about(path)


def test_what_half_precision_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not finite in half precision"):
        write_portable(tmp_path / "a.safetensors", {"w": torch.full((2, 2), 1e6)}, {})
    assert list(tmp_path.iterdir()) == []
