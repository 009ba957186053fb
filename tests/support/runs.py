"""Small runs through the real command line."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from nucleist.cli.main import main
from support import layouts

# Fast on two cores: tiny images, few detections, two steps.
SMALL = [
    "trainer=debug",
    "data.batch_size=2",
    "data.source.n_train=4",
    "data.source.n_test=2",
    "data.source.size=[64,64]",
    "data.source.count=[3,5]",
    "data.source.radius=[5,8]",
    "augment.crop=48",
    "model.roi.detections_per_img=20",
]


def data_root(folder: Path) -> Path:
    """All published layouts, a few tiny images each."""
    layouts.bbbc038(folder / "bbbc038")
    layouts.kumar(folder / "kumar")
    layouts.tnbc(folder / "tnbc")
    layouts.dh100(folder / "dh100")
    return folder


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that a user reads who did something wrong; the status is 2."""
    assert main(list(arguments)) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("nucleist: ")
    return lines[0]


def interrupt_when(log: Path, word: str) -> threading.Thread:
    """Ctrl-C for this process as soon as a log says something."""

    def wait() -> None:
        until = time.monotonic() + 200
        while time.monotonic() < until:
            if log.exists() and word in log.read_text():
                break
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def earlier_run(runs: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A finished run of the default configuration: 600 steps of 1.25 s, 12.5 minutes."""
    folder = runs / "synthetic_mask_rcnn_pa" / "1"
    folder.mkdir(parents=True)
    assert main(["train", "--cfg"]) == 0
    (folder / "config.yaml").write_text(capsys.readouterr().out)
    (folder / "summary.json").write_text(json.dumps({"train_seconds": 750, "steps": 600}))
    return folder
