"""Processes of one machine: started, watched, and ended together, whatever happens to one."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pytorch_lightning.accelerators import CUDAAccelerator
from support.processes import Lines, gone, linux, state

from nucleist.distributed import launch
from nucleist.distributed import trainer as trainer_module
from nucleist.distributed.launch import processes_wanted, run_on_devices
from nucleist.distributed.watch import ProcessLostError
from nucleist.types import UserError

pytestmark = pytest.mark.slow

TESTS = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a scene in two processes; afterwards this process is as it was, and they are gone."""
    monkeypatch.setenv("PYTHONPATH", TESTS)
    monkeypatch.setattr(launch, "GRACE", 0.5)

    def start(scene, progress=None):
        before = state()
        try:
            return run_on_devices("support.rank", [scene, str(tmp_path)], 2, progress)
        finally:
            assert state() == before

    yield start
    assert all(gone(int(file.read_text())) for file in tmp_path.glob("pid*"))


@pytest.mark.whole
def test_the_text_of_rank_0_comes_back(run, tmp_path):
    lines = Lines()
    assert run("agrees", lines) == str(tmp_path / "run")
    assert lines.lines == ["rank 0", "warning of rank 0"]  # and nothing of rank 1


def test_a_user_error_of_a_rank_is_raised_here(run):
    with pytest.raises(UserError) as error:
        run("refuses")
    assert str(error.value) in ("seed=0: no", "seed=1: no") and error.value.status == 2


@pytest.mark.parametrize(
    ("scene", "what"),
    [
        ("fails", "rank 1 (world size 2) failed: ValueError: no such thing"),
        ("exits", "rank 1 (world size 2) failed: out of luck"),
        ("loses the others", "rank 1 (world size 2) was killed by SIGKILL"),
    ],
)
def test_the_rank_that_failed_is_named(scene, what, run, capfd):
    with pytest.raises(ProcessLostError) as error:
        run(scene)
    assert str(error.value) == what and error.value.status == 1
    assert capfd.readouterr().err == ""


@pytest.mark.whole
def test_others_that_notice_nothing_end_within_seconds(run, tmp_path):
    last = tmp_path / "checkpoints" / "last.ckpt"
    last.parent.mkdir()
    last.touch()
    with pytest.raises(ProcessLostError) as error:
        run("is killed")
    ended = max(file.stat().st_mtime for file in tmp_path.glob("pid*"))
    assert time.time() - ended < 30  # rank 0 sleeps for 60
    assert str(error.value) == (
        f"rank 1 (world size 2) was killed by SIGKILL; {last} is kept, resume=auto goes on from it"
    )


def test_ctrl_c_ends_all(run):
    with pytest.raises(KeyboardInterrupt):
        run("gets SIGINT")


@pytest.mark.whole
def test_after_sigterm_there_is_time_to_save(run, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run("gets SIGTERM")
    assert {path.name for path in tmp_path.glob("saved*")} == {"saved0", "saved1"}


@pytest.mark.whole
@linux
def test_if_this_process_is_killed_the_others_end(tmp_path):
    last = tmp_path / "checkpoints" / "last.ckpt"
    last.parent.mkdir()
    last.touch()
    code = "import sys; from nucleist.distributed.launch import run_on_devices as r; "
    code += "r('support.rank', sys.argv[1:], 2)"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "waits", str(tmp_path)],
        env=os.environ | {"PYTHONPATH": TESTS, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    while len(list(tmp_path.glob("ready*"))) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    _, rest = process.communicate(timeout=60)  # to the end of rank 0, which has the same stderr
    assert all(gone(int(file.read_text())) for file in tmp_path.glob("pid*"))
    assert rest.splitlines() == [
        "nucleist: the process that started the training is gone; its ranks end too; "
        f"{last} is kept, resume=auto goes on from it"
    ]


def test_a_gpu_that_is_not_there_is_one_line(monkeypatch):
    monkeypatch.setattr(trainer_module, "has_gpu", lambda: False)
    with pytest.raises(UserError, match="accelerator=gpu: no GPU here; use trainer=auto"):
        trainer_module.trainer(accelerator="gpu")


@pytest.mark.parametrize(
    ("gpus", "accelerator", "devices", "expected"),
    [
        (0, "auto", "auto", 1),
        (0, "auto", 2, 2),
        (0, "cpu", "2", 2),
        (4, "auto", "auto", 4),
        (4, "cpu", "auto", 1),
        (4, "cpu", 3, 3),
        (4, "gpu", -1, 4),
        (4, "gpu", "0,2", 2),
        (4, "cuda", [1, 3], 2),
        (4, "auto", 1, 1),
        (4, "gpu", 8, 1),  # refused by the trainer
        (0, "gpu", 2, 1),
    ],
)
def test_how_many_processes_a_trainer_wants(gpus, accelerator, devices, expected, monkeypatch):
    monkeypatch.setattr(CUDAAccelerator, "is_available", lambda: gpus > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    monkeypatch.setattr("lightning_fabric.accelerators.cuda.num_cuda_devices", lambda: gpus)
    monkeypatch.setattr("pytorch_lightning.accelerators.cuda.num_cuda_devices", lambda: gpus)
    assert processes_wanted(accelerator, devices, "ddp") == expected
    assert processes_wanted(accelerator, devices, "auto") == 1


def test_several_machines_need_a_launcher():
    with pytest.raises(UserError, match=r"trainer\.num_nodes=2 needs a process started on each"):
        processes_wanted("cpu", 2, "ddp", num_nodes=2)
