"""Real processes on the CPU: one run, no image twice, and an end when one of them dies.

A process takes seconds to start, so each start is used for several assertions.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from support.processes import Lines, children, gone, linux, state
from support.runs import SMALL

import nucleist
from nucleist.cli.main import main
from nucleist.evaluation.evaluate import evaluate
from nucleist.inference.predict import share_of
from nucleist.training.train import train
from nucleist.types import UserError

pytestmark = pytest.mark.slow

SCRIPTS = Path(__file__).parents[2] / "scripts"
NET = ["model.box_head=32", "model.mask_head=[16,16]", "+model.backbone.channels=16"]
NET += ["+model.backbone.stem=8", "+model.backbone.widths=[16,24,32]"]
NET += ["model.rpn.post_nms_top_n.training=20", "model.rpn.post_nms_top_n.testing=20"]
NET += ["model.rpn.batch_size_per_image=32", "model.roi.batch_size_per_image=16"]
TINY = [*(part for part in SMALL if part != "trainer=debug"), *NET]
DDP = ["trainer=ddp", "trainer.accelerator=cpu"]
# Three validation images: one process has one more than the other.
TRAIN = [*TINY, *DDP, "data.batch_size=4", "accumulate=2", "data.source.n_test=3", "steps=8"]
TRAIN += ["val_every=2", "checkpoint_every=100", "data.annotation_fraction=0.5", "resume=auto"]
TRAIN += ["seed=3", "trainer.log_every_n_steps=1"]
TRAIN += ["score_threshold=0.0", "model.roi.score_thresh=0.001"]  # what is found early, counts
LONG = 600
"""Seconds for what takes ten to twenty on an idle machine."""


def environment(**more: str) -> dict[str, str]:
    left_out = ("NUCLEIST_", "SLURM_", "LOCAL_RANK", "NODE_RANK", "PL_GLOBAL_SEED")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(left_out)}
    return kept | {"OMP_NUM_THREADS": "1", "PYTHON": sys.executable, **more}


def wait_for(process: subprocess.Popen[str], word: str) -> None:
    assert process.stderr is not None
    if not any(word in line for line in process.stderr):
        raise AssertionError(f"ended with status {process.wait()} before {word!r}")


def step_of(folder: Path) -> int:
    (checkpoint,) = folder.rglob("last.ckpt")
    return int(torch.load(checkpoint, weights_only=True)["global_step"])


SRUN = """#!/bin/sh
# As srun: two tasks; both get what scancel sends.
shift
export SLURM_STEP_NUM_TASKS=2 SLURM_STEP_NUM_NODES=1 SLURM_NNODES=1 SLURM_NODEID=0
export SLURM_NTASKS=2 SLURM_NTASKS_PER_NODE=2 SLURM_NODELIST=127.0.0.1
SLURM_PROCID=1 SLURM_LOCALID=1 "$@" &
second=$!
SLURM_PROCID=0 SLURM_LOCALID=0 "$@" &
echo $! $second > "$TASKS"
wait $!
first=$?
wait $second
exit $first
"""


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """The commands of a cluster, on this machine."""
    folder = tmp_path / "bin"
    folder.mkdir()
    commands = {
        "srun": SRUN,
        "scancel": '#!/bin/sh\nkill -TERM $(cat "$TASKS")\n',
        "scontrol": '#!/bin/sh\necho "$@" > "$TASKS.requeued"\n',
    }
    for name, text in commands.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    port = str(15000 + os.getpid() % 10000)
    return environment(
        PATH=f"{folder}:{os.environ['PATH']}",
        TASKS=str(tmp_path / "tasks"),
        SLURM_JOB_ID=port,
        MASTER_PORT=port,
        SLURM_CPUS_PER_TASK="1",
        SLURM_JOB_NAME="nucleist",
    )


@pytest.mark.whole
@linux
def test_a_run_of_two_processes_is_cut_and_goes_on(slurm: dict[str, str], tmp_path: Path) -> None:
    options = [*TRAIN, "trainer.devices=2", f"runs={tmp_path / 'runs'}"]

    # SIGTERM in a SLURM job: all end between two steps, save what is not due, and are queued again.
    process = subprocess.Popen(
        ["sh", str(SCRIPTS / "slurm_ddp.sh"), *options],
        env=slurm,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(process, "step 2/8")
    process.send_signal(signal.SIGTERM)  # to the shell alone, as sbatch --signal=B:TERM
    _, rest = process.communicate(timeout=LONG)
    assert process.returncode == 0, rest
    assert (tmp_path / "tasks.requeued").read_text().split() == ["requeue", slurm["SLURM_JOB_ID"]]
    (run,) = (tmp_path / "runs").glob("*/*")
    # Both write into one pipe, so there may be two texts in a line.
    assert f"{run}: cut short; resume=auto goes on from last.ckpt" in rest, rest
    saved = step_of(tmp_path)
    assert 2 <= saved < 8 and "Traceback" not in rest, rest

    # From Python the same goes on, in the same folder, to the end, and leaves no trace here.
    lines, before = Lines(), state()
    assert train(overrides=options, progress=lines) == run
    assert state() == before
    assert len(list(run.parent.iterdir())) == 1
    text = "\n".join(lines.lines)
    assert text.count("goes on from") == 1 and text.count("step 6/8") == 1 and "Warn" not in text
    scores = json.loads((run / "summary.json").read_text())
    assert scores["steps"] == 8

    # No image was counted twice.
    rows = (run / "per_image.csv").read_text().splitlines()
    names = [row.split(",")[0] for row in rows[1:]]
    thresholds = {scores["test"]["score_threshold"], scores["test_calibrated"]["score_threshold"]}
    assert len(set(names)) == 3 and len(names) == 3 * len(thresholds)

    # Validation, test, and one process or two on the same weights find the same.
    logged = (run / "metrics.csv").read_text().splitlines()
    table = [dict(zip(logged[0].split(","), row.split(","), strict=True)) for row in logged[1:]]
    assert [row["step"] for row in table if row["train/loss"]] == [str(i) for i in range(8)]
    best = [float(row["val/aji_pooled"]) for row in table if row["val/aji_pooled"]][-1]
    assert best == pytest.approx(scores["test"]["aji"]["pooled"], abs=1e-6) and best > 0
    last = run / "checkpoints" / "last.ckpt"
    one = evaluate(last, overrides=["trainer=cpu"], score_threshold=0.0, progress=Lines())
    assert one.summary["test"] == scores["test"]


@pytest.mark.whole
@linux
def test_torchrun_ends_with_an_error_when_a_worker_dies(tmp_path: Path) -> None:
    """Of the processes that torchrun started, the second is killed, and the checkpoint is whole."""
    options = [*TRAIN, "steps=500", "checkpoint_every=1", "name=cut", f"runs={tmp_path}"]
    process = subprocess.Popen(
        ["sh", str(SCRIPTS / "torchrun.sh"), "train", *options],
        env=environment(PROCESSES="2"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(process, "step 2/500")
    workers = sorted(children(process.pid))
    os.kill(workers[-1], signal.SIGKILL)
    _, said = process.communicate(timeout=LONG)
    assert process.returncode != 0 and all(gone(worker) for worker in workers)
    # torchrun itself ends with an exception; in none is a line of nucleist.
    assert f'File "{Path(nucleist.__file__).parent}' not in said, said
    assert said.count("Traceback (most recent call last)") <= 1, said
    assert any(line.startswith("nucleist: ") for line in said.splitlines()), said
    assert step_of(tmp_path) >= 1
    (run,) = (tmp_path / "cut").iterdir()
    assert not (run / "summary.json").exists()


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.sh")), ids=lambda path: path.name)
def test_the_shell_reads_the_scripts(script: Path) -> None:
    assert os.access(script, os.X_OK)
    for shell in {"sh", *filter(shutil.which, ["bash", "dash"])}:
        subprocess.run([shell, "-n", str(script)], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", str(script)], check=True)


def sweep_script(monkeypatch: pytest.MonkeyPatch, *words: str) -> list[str]:
    """What the third job of an array that begins at 1 would run."""
    monkeypatch.setenv("PYTHON", "echo")
    for name, value in (("ID", "3"), ("MIN", "1"), ("COUNT", "4")):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    command = ["sh", str(SCRIPTS / "slurm_sweep.sh"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_a_job_of_an_array_has_its_own_run_or_share(monkeypatch: pytest.MonkeyPatch) -> None:
    training = sweep_script(monkeypatch, "seed", "demo")
    assert training == ["-m", "nucleist", "train", "demo", "seed=3", "resume=auto"]
    predict = sweep_script(monkeypatch, "predict", "last.ckpt", "images", "-o", "out")
    assert predict[2:] == ["predict", "last.ckpt", "images", "-o", "out", "share=3/4"]


def test_each_image_has_one_share(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [Path(f"{i}.png") for i in range(7)]
    shares = [share_of(images, f"{i}/3") for i in (1, 2, 3)]
    assert [len(part) for part in shares] == [3, 2, 2]
    assert sorted(image for part in shares for image in part) == images
    assert share_of(images, None) == images
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "a")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert share_of(images, None) == shares[1]
    for wrong in ("0/3", "4/3", "1", "a/b"):
        with pytest.raises(UserError, match=f"share={wrong} is not I/N"):
            share_of(images, wrong)


def test_shares_of_a_prediction_are_the_prediction(tmp_path: Path) -> None:
    options = [*TINY, "trainer=debug", f"runs={tmp_path / 'runs'}"]
    assert main(["train", *options]) == 0
    (checkpoint,) = tmp_path.rglob("last.ckpt")
    images = tmp_path / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    for i in range(3):
        Image.fromarray(rng.integers(0, 255, (48, 48, 3), np.uint8)).save(images / f"{i}.png")
    predict = ["predict", str(checkpoint), str(images), "score_threshold=0.01", "-o"]
    assert main([*predict, str(tmp_path / "whole")]) == 0
    for part in ("2/2", "1/2"):  # in any order; what another has written is no obstacle
        assert main([*predict, str(tmp_path / "shared"), f"share={part}"]) == 0
    whole, shared = (sorted((tmp_path / name).iterdir()) for name in ("whole", "shared"))
    assert [p.name for p in whole] == [p.name for p in shared]
    for a, b in zip(whole, shared, strict=True):
        if a.suffix == ".tif":
            assert np.array_equal(tifffile.imread(a), tifffile.imread(b))
    before = [path.stat().st_mtime_ns for path in shared]
    assert main([*predict, str(tmp_path / "shared"), "share=1/2"]) == 0  # nothing is left to do
    assert [path.stat().st_mtime_ns for path in shared] == before
