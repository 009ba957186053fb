"""Two processes on the CPU: one run folder, the same kept labels, no image counted twice."""

import json
import os
import subprocess
import sys
from pathlib import Path

from runs_support import SMALL

from karyon.cli.main import main


def test_two_processes_leave_one_run_and_score_each_image_once(tmp_path: Path) -> None:
    options = [*SMALL, f"runs={tmp_path}", "data.source.n_test=3"]
    command = [sys.executable, "-m", "karyon", "train", *options, "data.annotation_fraction=0.5"]
    command += ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "steps=2"]
    command += ["val_every=2"]
    command = [part for part in command if part != "trainer=debug"]
    environment = {k: v for k, v in os.environ.items() if k != "KARYON_RUN_DIR"}
    environment |= {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (summary,) = tmp_path.rglob("summary.json")
    scores = json.loads(summary.read_text())
    assert scores["steps"] == 2
    rows = (summary.parent / "per_image.csv").read_text().splitlines()[1:]
    thresholds = {scores["test"]["score_threshold"], scores["test_calibrated"]["score_threshold"]}
    assert len(rows) == 3 * len(thresholds)

    # One process on the same weights scores the same.
    checkpoint = summary.parent / "checkpoints" / "last.ckpt"
    out = tmp_path / "one"
    assert main(["evaluate", f"checkpoint={checkpoint}", f"output={out}", "trainer=cpu"]) == 0
    alone = json.loads((out / "summary.json").read_text())
    assert alone["test"] == scores["test"]
