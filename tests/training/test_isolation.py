"""A training leaves the process as it was, and does not depend on what was trained before it."""

import json
import logging
import os
import random
import signal
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from omegaconf.basecontainer import BaseContainer
from support.runs import SHAPES, THIN, train

import nucleist
from nucleist.training.isolation import isolated
from nucleist.training.task import SegmentationTask
from nucleist.types import UserError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_pictures")]


def whole_state() -> dict[str, Any]:
    """What of this process a training could change."""
    names = [None, *sorted(logging.root.manager.loggerDict)]
    numpy = np.random.get_state()
    return {
        "environment": dict(os.environ),
        "filters": list(warnings.filters),
        "showwarning": warnings.showwarning,
        "signals": {n: signal.getsignal(n) for n in sorted(signal.valid_signals())},
        "hook": sys.excepthook,
        "levels": {name: logging.getLogger(name).level for name in names},
        "handlers": {name: list(logging.getLogger(name).handlers) for name in names},
        "resolvers": set(BaseContainer._resolvers),
        "hydra": GlobalHydra.instance().is_initialized(),
        "python": random.getstate(),
        "numpy": (numpy[1].tobytes(), numpy[2:]),
        "torch": torch.get_rng_state().numpy().tobytes(),
        "threads": torch.get_num_threads(),
        "type": torch.get_default_dtype(),
        "grad": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "precision": torch.get_float32_matmul_precision(),
        "benchmark": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "folder": os.getcwd(),
        "path": list(sys.path),
    }


def assert_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Loggers of modules that were imported in between are none of a training's traces."""
    for name, value in before.items():
        now = after[name]
        if name in ("levels", "handlers"):
            now = {key: now[key] for key in value}
        assert now == value, name


def test_nothing_of_a_training_stays(tmp_path: Path) -> None:
    train(tmp_path / "first", *THIN)  # imports what a training imports
    random.seed(5), np.random.seed(6), torch.manual_seed(7)
    before = whole_state()
    train(tmp_path / "second", *THIN, "seed=3")
    assert_same(before, whole_state())


def test_nothing_of_a_refused_training_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self, batch, batch_idx):
        raise UserError("no more")

    monkeypatch.setattr(SegmentationTask, "training_step", refuse)
    before = whole_state()
    with pytest.raises(UserError, match="no more"):
        train(tmp_path, *THIN)
    assert_same(before, whole_state())
    assert not list(tmp_path.iterdir())  # refused before the first step was done


def test_what_was_changed_inside_is_put_back() -> None:
    before = whole_state()
    with pytest.raises(KeyError), isolated():
        os.environ["NUCLEIST_TEST"] = "1"
        os.environ.pop("PATH")
        warnings.simplefilter("ignore")
        signal.signal(signal.SIGUSR1, lambda *arguments: None)
        sys.excepthook = print
        logging.getLogger("pytorch_lightning").setLevel(logging.CRITICAL)
        random.random(), np.random.rand(), torch.rand(())
        raise KeyError
    assert_same(before, whole_state())


FIRST = [*THIN, "seed=3", "data.annotation_fraction=0.5"]
SECOND = [*SHAPES, "model=canonical_shape", "normalize=full_range", "augment=flips"]


@pytest.mark.whole
def test_two_trainings_in_one_process_equal_those_of_two_processes(tmp_path: Path) -> None:
    """Each trains first in a process of its own, and second in the other's.

    Both processes are forked from one that has imported all and trained nothing.
    """
    script = textwrap.dedent("""
        import json, os, sys
        import nucleist
        from nucleist.training import summary, train
        summary.write_figures = summary.write_test_overlays = lambda *arguments: None
        place, *orders = json.loads(sys.argv[1])
        if not (child := os.fork()):
            place, orders = f"{place}/b", orders[::-1]
        for number, words in enumerate(orders):
            given = [*words, f"runs={place}"]
            run = nucleist.train(overrides=given, progress=nucleist.Progress())
            os.symlink(run, f"{place}/{number}")
        if child:
            sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """)
    place = tmp_path / "a"
    words = json.dumps([str(place), FIRST, SECOND])
    command = [sys.executable, "-W", "ignore", "-c", script, words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, second, other_second, other_first = (
        (place / name).resolve() for name in ("0", "1", "b/0", "b/1")
    )
    for fresh, later in ((first, other_first), (other_second, second)):
        stored = [Path(r, "checkpoints", "last.ckpt") for r in (fresh, later)]
        one, two = (torch.load(path, weights_only=True)["state_dict"] for path in stored)
        assert one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)
        for name in ("metrics.csv", "per_image.csv", "thresholds.csv", "manifest.json"):
            assert Path(fresh, name).read_text() == Path(later, name).read_text(), name


def test_warnings_of_progress_reach_the_caller(tmp_path: Path) -> None:
    """Where nobody watches, a warning is Python's; what was made on purpose is not warned of."""

    with pytest.warns(UserWarning, match="detections_per_img=20") as caught:
        nucleist.train(overrides=[*THIN, f"runs={tmp_path}"])
    assert len(caught) == 1
