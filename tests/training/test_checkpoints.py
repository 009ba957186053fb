"""A checkpoint is whole at any moment, and random numbers go on where they were."""

import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from nucleist.training.checkpoints import (
    AtomicCheckpoints,
    Checkpoints,
    random_state,
    set_random_state,
)
from nucleist.types import UserError

pytestmark = pytest.mark.slow


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpoints().save_checkpoint({"a": torch.zeros(3)}, path)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))  # as if the disk were full
    try:
        with pytest.raises(UserError, match=r"last\.ckpt: cannot write"):
            AtomicCheckpoints().save_checkpoint({"a": torch.zeros(100_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_process_killed_while_saving_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    """Killed at whatever moment of an endless saving."""
    path = tmp_path / "last.ckpt"
    script = (
        "import sys, torch, itertools\n"
        "from nucleist.training.checkpoints import AtomicCheckpoints\n"
        "for i in itertools.count():\n"
        "    AtomicCheckpoints().save_checkpoint({'a': torch.full((2_000_000,), i)}, sys.argv[1])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(path)])
    while not path.exists():
        time.sleep(0.05)
    time.sleep(0.37)
    process.kill()
    process.wait()
    values = torch.load(path, weights_only=True)["a"]
    assert len(values) == 2_000_000 and len(values.unique()) == 1


def test_random_numbers_go_on_where_they_were(tmp_path: Path) -> None:
    def draw():
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    torch.save(random_state(), tmp_path / "state.pt")
    first = draw()
    set_random_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert draw() == first


def test_a_number_of_steps_is_at_least_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="checkpoint_every=0 is not a number of steps"):
        Checkpoints(str(tmp_path), every=0)
