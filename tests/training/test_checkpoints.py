"""A checkpoint is whole at any moment, and random numbers go on where they were."""

import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.optim import SGD
from torch.utils.data import DataLoader

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


@pytest.mark.whole
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


class Scored(pl.LightningModule):
    """Logs the given scores, one of each list a validation, after each of three steps."""

    def __init__(self, scores: dict[str, list[float]]):
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.scores = {name: list(values) for name, values in scores.items()}

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        return self.layer(batch).sum()

    def validation_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        self.log_dict({f"val/{name}": values.pop(0) for name, values in self.scores.items()})

    def configure_optimizers(self) -> SGD:
        return SGD(self.parameters(), 0.1)


FOUND = "labelled_score_best_threshold"


@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.parametrize(
    ("scores", "monitor", "step"),
    [
        ({FOUND: [0.1, 0.3, 0.2], "map_pooled": [0.9, 0.1, 0.2]}, None, 2),
        ({"map_pooled": [0.1, 0.2, 0.9], FOUND: [0.0, 0.0, 0.0]}, None, 1),  # none is better
        ({"map_pooled": [0.1, 0.1, 0.9], "aji_pooled": [0.9, 0.1, 0.1]}, None, 3),
        ({FOUND: [0.9, 0.3, 0.2], "map_pooled": [0.1, 0.9, 0.2]}, "val/map_pooled", 2),
        ({"aji_pooled": [0.1, 0.2, 0.3]}, None, None),
    ],
    ids=["labelled nuclei", "equal", "complete images", "as asked", "neither"],
)
def test_the_best_has_most_of_the_first_score_that_there_is(
    scores: dict[str, list[float]], monitor: str | None, step: int | None, tmp_path: Path
) -> None:
    options = {} if monitor is None else {"monitor": monitor}
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=3,
        val_check_interval=1,
        num_sanity_val_steps=0,
        logger=False,
        callbacks=[Checkpoints(str(tmp_path), every=100, **options)],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    batches = DataLoader(torch.zeros(4, 1))
    trainer.fit(Scored(scores), batches, DataLoader(torch.zeros(1, 1)))
    best = tmp_path / "best.ckpt"
    found = torch.load(best, weights_only=True)["global_step"] if best.exists() else None
    assert found == step


def test_a_number_of_steps_is_at_least_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="checkpoint_every=0 is not a number of steps"):
        Checkpoints(str(tmp_path), every=0)
