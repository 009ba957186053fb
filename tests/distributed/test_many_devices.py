"""Real processes on the CPU: one run, no image twice, and an end when one of them dies.

A process takes seconds to start, so each start is used for several assertions.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from support.runs import SMALL

import nucleist
from nucleist.cli.main import main
from nucleist.inference.predict import share
from nucleist.types import UserError

SCRIPTS = Path(__file__).parents[2] / "scripts"
NET = ["model.box_head=32", "model.mask_head=[16,16]", "+model.backbone.channels=16"]
NET += ["+model.backbone.stem=8", "+model.backbone.widths=[16,24,32]"]
NET += ["model.rpn.post_nms_top_n.training=20", "model.rpn.post_nms_top_n.testing=20"]
NET += ["model.rpn.batch_size_per_image=32", "model.roi.batch_size_per_image=16"]
TINY = [*(part for part in SMALL if part != "trainer=debug"), *NET]
DDP = ["trainer=ddp", "trainer.accelerator=cpu"]
# Three validation images: one process has one more than the other.
TRAIN = [*TINY, *DDP, "data.batch_size=4", "accumulate=2", "data.source.n_test=3", "steps=6"]
TRAIN += ["val_every=2", "checkpoint_every=1", "data.annotation_fraction=0.5", "resume=auto"]
TRAIN += ["seed=3", "trainer.log_every_n_steps=1"]
TRAIN += ["score_threshold=0.0", "model.roi.score_thresh=0.001"]  # what is found early, counts
LONG = 600
"""Seconds for what takes ten to twenty on an idle machine."""


def environment(**more: str) -> dict[str, str]:
    left_out = ("NUCLEIST_", "SLURM_", "LOCAL_RANK", "NODE_RANK", "PL_GLOBAL_SEED")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(left_out)}
    return kept | {"OMP_NUM_THREADS": "1", "PYTHON": sys.executable, **more}


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "nucleist", *arguments],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(process: subprocess.Popen[str], word: str) -> None:
    assert process.stderr is not None
    if not any(word in line for line in process.stderr):
        raise AssertionError(f"ended with status {process.wait()} before {word!r}")


def children(process: subprocess.Popen[str]) -> list[int]:
    """The processes that a process has started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if parent == process.pid:
            found.append(int(stat.parent.name))
    return found


def gone(pid: int) -> bool:
    """Whether a process has ended, after a moment that it may need for it."""
    stat = Path(f"/proc/{pid}/stat")
    for _ in range(100):
        try:
            if stat.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.1)
    return False


def step_of(folder: Path) -> int:
    (checkpoint,) = folder.rglob("last.ckpt")
    return int(torch.load(checkpoint, weights_only=True)["global_step"])


linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads Linux' /proc")


@linux
def test_a_run_of_two_processes_outlives_the_death_of_each(tmp_path: Path) -> None:
    command = ["train", *TRAIN, "trainer.devices=2", f"runs={tmp_path / 'runs'}"]

    # The first process dies: the second says so on the same terminal, and ends.
    process = start(tmp_path, *command)
    wait_for(process, "step 2/6")
    (other,) = children(process)
    process.kill()
    _, rest = process.communicate(timeout=120)  # to the end of both: they share their stderr
    assert process.returncode == -signal.SIGKILL and gone(other)
    lines = [line for line in rest.splitlines() if line.startswith("nucleist: ")]
    assert len(lines) == 1 and "the first process is gone" in lines[0], rest
    assert "last.ckpt is kept, resume=auto" in lines[0] and "Traceback" not in rest
    assert step_of(tmp_path) >= 1

    # The second dies: the first ends with an error.
    process = start(tmp_path, *command)
    wait_for(process, "step 4/6")
    (other,) = children(process)
    os.kill(other, signal.SIGKILL)
    _, rest = process.communicate(timeout=120)
    assert process.returncode == 1
    lines = [line for line in rest.splitlines() if line.startswith("nucleist: ")]
    assert len(lines) == 1 and "process 2 of 2 was killed (SIGKILL)" in lines[0], rest
    assert "last.ckpt is kept, resume=auto" in lines[0] and "Traceback" not in rest
    assert step_of(tmp_path) >= 3

    # The same command goes on, in the same folder, to the end.
    process = start(tmp_path, *command)
    said, rest = process.communicate(timeout=LONG)
    assert process.returncode == 0, rest
    (summary,) = (tmp_path / "runs").rglob("summary.json")
    run = summary.parent
    assert said.splitlines() == [os.path.relpath(run, tmp_path)] or said.splitlines() == [str(run)]
    assert len(list(run.parent.iterdir())) == 1
    assert rest.count("goes on from") == 1 and rest.count("step 6/6") == 1
    assert "Warning" not in rest
    scores = json.loads(summary.read_text())
    assert scores["steps"] == 6

    # No image was counted twice.
    rows = (run / "per_image.csv").read_text().splitlines()
    names = [row.split(",")[0] for row in rows[1:]]
    thresholds = {scores["test"]["score_threshold"], scores["test_calibrated"]["score_threshold"]}
    assert len(set(names)) == 3 and len(names) == 3 * len(thresholds)

    # Validation, test, and one process or two on the same weights say the same.
    logged = (run / "metrics.csv").read_text().splitlines()
    table = [dict(zip(logged[0].split(","), row.split(","), strict=True)) for row in logged[1:]]
    assert [row["step"] for row in table if row["train/loss"]] == [str(i) for i in range(6)]
    last = [float(row["val/aji_pooled"]) for row in table if row["val/aji_pooled"]][-1]
    assert last == pytest.approx(scores["test"]["aji"]["pooled"], abs=1e-6) and last > 0
    checkpoint = run / "checkpoints" / "last.ckpt"
    one, two = tmp_path / "one", tmp_path / "two"
    evaluate = ["evaluate", f"checkpoint={checkpoint}", "score_threshold=0.0", "coco=true"]
    assert main([*evaluate, f"output={one}", "trainer=cpu"]) == 0
    process = start(tmp_path, *evaluate, f"output={two}", *DDP, "trainer.devices=2")
    said, rest = process.communicate(timeout=LONG)
    assert process.returncode == 0, rest
    assert json.loads((one / "summary.json").read_text())["test"] == scores["test"]
    assert json.loads((one / "summary.json").read_text())["coco"]["coco_max_detections"] > 0
    for name in ("summary.json", "per_image.csv"):
        assert (one / name).read_text() == (two / name).read_text()
    # Not rounded: the order in which the processes' sums are added shows in the last digit.
    curves = [np.loadtxt(f / "thresholds.csv", delimiter=",", skiprows=1) for f in (one, two)]
    np.testing.assert_allclose(*curves, rtol=1e-12, atol=0)


def test_torchrun_leaves_one_run(tmp_path: Path) -> None:
    options = [*TINY, *DDP, "steps=1", "val_every=1", "data.source.n_test=2", "name=once"]
    done = subprocess.run(
        ["sh", str(SCRIPTS / "torchrun.sh"), "train", *options, f"runs={tmp_path}"],
        env=environment(PROCESSES="2"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LONG,
    )
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "once").iterdir()
    assert (run / "summary.json").exists()
    assert done.stdout.splitlines() == [str(run)]
    assert done.stderr.count("step 1/1") == 1


@linux
def test_torchrun_ends_with_an_error_when_a_worker_dies(tmp_path: Path) -> None:
    """Of the processes that torchrun started, the second is killed, and the checkpoint is whole."""
    options = [*TRAIN, "steps=500", "val_every=2", "name=cut", f"runs={tmp_path}"]
    process = subprocess.Popen(
        ["sh", str(SCRIPTS / "torchrun.sh"), "train", *options],
        env=environment(PROCESSES="2"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(process, "step 2/500")
    workers = sorted(children(process))
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


@linux
def test_processes_with_other_labels_do_not_train_together(tmp_path: Path) -> None:
    """The second process, as the environment has it, draws with another seed."""
    seed = "data.annotation_seed=${oc.env:LOCAL_RANK,0}"
    options = [*TRAIN, seed, "trainer.devices=2", "steps=2", f"runs={tmp_path}"]
    process = start(tmp_path, "train", *options)
    _, said = process.communicate(timeout=LONG)
    assert process.returncode == 2, said
    lines = [line for line in said.splitlines() if line.startswith("nucleist: ")]
    assert len(lines) == 1 and "process 2 of 2 keeps other labels than the first" in lines[0], said
    assert "Traceback" not in said and not list(tmp_path.rglob("*.ckpt"))


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


def test_a_slurm_job_saves_and_is_queued_again(slurm: dict[str, str], tmp_path: Path) -> None:
    options = [*TRAIN, "steps=100", "checkpoint_every=1000", "name=job", f"runs={tmp_path}"]
    process = subprocess.Popen(
        ["sh", str(SCRIPTS / "slurm_ddp.sh"), *options],
        env=slurm,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(process, "step 2/100")
    process.send_signal(signal.SIGTERM)  # to the shell alone, as sbatch --signal=B:TERM
    _, said = process.communicate(timeout=LONG)
    assert process.returncode == 0, said
    assert (tmp_path / "tasks.requeued").read_text().split() == ["requeue", slurm["SLURM_JOB_ID"]]
    (run,) = (tmp_path / "job").iterdir()
    assert step_of(run) >= 2 and "Traceback" not in said, said
    assert "cut short; resume=auto" in said


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
    train = sweep_script(monkeypatch, "seed", "experiment=demo")
    assert train == ["-m", "nucleist", "train", "experiment=demo", "seed=3", "resume=auto"]
    predict = sweep_script(monkeypatch, "predict", "last.ckpt", "images", "-o", "out")
    assert predict[2:] == ["predict", "last.ckpt", "images", "-o", "out", "--share", "3/4"]


def test_each_image_has_one_share(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [Path(f"{i}.png") for i in range(7)]
    shares = [share(images, f"{i}/3") for i in (1, 2, 3)]
    assert [len(part) for part in shares] == [3, 2, 2]
    assert sorted(image for part in shares for image in part) == images
    assert share(images, None) == images
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "a")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert share(images, None) == shares[1]
    for wrong in ("0/3", "4/3", "1", "a/b"):
        with pytest.raises(UserError, match=f"--share {wrong} is not I/N"):
            share(images, wrong)


def test_shares_of_a_prediction_are_the_prediction(tmp_path: Path) -> None:
    options = [*TINY, "trainer=debug", f"runs={tmp_path / 'runs'}"]
    assert main(["train", *options]) == 0
    (checkpoint,) = tmp_path.rglob("last.ckpt")
    images = tmp_path / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    for i in range(3):
        Image.fromarray(rng.integers(0, 255, (48, 48, 3), np.uint8)).save(images / f"{i}.png")
    predict = ["predict", str(checkpoint), str(images), "--score-threshold", "0.01", "-o"]
    assert main([*predict, str(tmp_path / "whole")]) == 0
    for part in ("2/2", "1/2"):  # in any order; what another has written is no obstacle
        assert main([*predict, str(tmp_path / "shared"), "--share", part]) == 0
    whole, shared = (sorted((tmp_path / name).iterdir()) for name in ("whole", "shared"))
    assert [p.name for p in whole] == [p.name for p in shared]
    for a, b in zip(whole, shared, strict=True):
        if a.suffix == ".tif":
            assert np.array_equal(tifffile.imread(a), tifffile.imread(b))
    assert main([*predict, str(tmp_path / "shared"), "--share", "1/2"]) == 2  # its own is there
