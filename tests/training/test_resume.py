"""A run that is cut and goes on ends as one that was not, bit for bit; a failure is one line."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from support.runs import SMALL

from nucleist.cli.main import main
from nucleist.files import holding, is_held
from nucleist.training.checkpoints import (
    AtomicCheckpoints,
    MetricsFile,
    random_state,
    set_random_state,
)
from nucleist.training.run import find_run, new_run_folder
from nucleist.training.task import SegmentationTask
from nucleist.types import UserError

# Checkpoints after steps 3 and 6, validations after 2, 4 and 6: never both but at the end.
TINY = [part for part in SMALL if part != "trainer=debug"]
TINY += ["trainer=cpu", "steps=6", "val_every=2", "checkpoint_every=3", "seed=7"]
TINY += ["trainer.log_every_n_steps=2", "data.annotation_fraction=0.5"]
TINY += ["model.box_head=32", "model.mask_head=[16,16]", "+model.backbone.channels=16"]
TINY += ["+model.backbone.stem=8", "+model.backbone.widths=[16,24,32]"]
TINY += ["model.rpn.post_nms_top_n.training=20", "model.rpn.post_nms_top_n.testing=20"]
TINY += ["model.rpn.batch_size_per_image=32", "model.roi.batch_size_per_image=16"]


def train(folder: Path, *overrides: str) -> Path:
    assert main(["train", *TINY, f"runs={folder}", *overrides]) == 0
    (summary,) = folder.rglob("summary.json")
    return summary.parent


def results(run: Path) -> dict:
    """All that a run leaves, but for times."""
    found: dict = {
        name: (run / name).read_text()
        for name in ("metrics.csv", "thresholds.csv", "per_image.csv", "manifest.json")
    }
    found["summary"] = json.loads((run / "summary.json").read_text())
    assert found["summary"].pop("train_seconds") > 0
    assert found["summary"].pop("speed")["measured_by"] == "run"
    return found


def same_weights(first: Path, second: Path) -> bool:
    def same(name: str) -> bool:
        a, b = (torch.load(r / "checkpoints" / name, weights_only=True) for r in (first, second))
        states = a["optimizer_states"][0]["state"], b["optimizer_states"][0]["state"]
        moments = all(
            torch.equal(states[0][i][part], states[1][i][part])
            for i in states[0]
            for part in ("exp_avg", "exp_avg_sq")
        )
        weights = all(torch.equal(a["state_dict"][k], b["state_dict"][k]) for k in a["state_dict"])
        return weights and moments and a["global_step"] == b["global_step"]

    return same("last.ckpt") and same("best.ckpt")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupts."""
    return train(tmp_path_factory.mktemp("whole"))


class Cut(BaseException):
    """Stands for the power cut: nothing catches it."""


def cut_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """End the next training within the step after `step` steps."""
    go_on = SegmentationTask.training_step

    def training_step(self, batch, batch_idx):
        if self.global_step == step:
            raise Cut
        return go_on(self, batch, batch_idx)

    monkeypatch.setattr(SegmentationTask, "training_step", training_step)


@pytest.mark.parametrize(
    ("every", "step", "goes_on_from"),
    [(3, 5, 3), (2, 5, 4), (4, 3, None)],
    ids=["between validations", "at a validation", "before any"],
)
def test_a_cut_anywhere_changes_nothing(
    every, step, goes_on_from, whole, tmp_path, monkeypatch, capsys
):
    options = [*TINY, f"runs={tmp_path}", "resume=auto", f"checkpoint_every={every}"]
    with monkeypatch.context() as patch:
        cut_at(patch, step)
        with pytest.raises(Cut):
            main(["train", *options])
    capsys.readouterr()
    run = train(tmp_path, "resume=auto", f"checkpoint_every={every}")
    said = capsys.readouterr().err
    assert (f"step {goes_on_from}\n" in said) if goes_on_from else ("goes on" not in said)
    assert results(run) == results(whole)
    assert same_weights(run, whole)


def start(folder: Path, *overrides: str) -> subprocess.Popen:
    """The same in a process of its own, with as many threads as here."""
    environment = {
        k: v for k, v in os.environ.items() if k not in ("NUCLEIST_RUN_DIR", "LOCAL_RANK")
    }
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "nucleist",
            "train",
            *TINY,
            f"runs={folder}",
            "resume=auto",
            *overrides,
        ],
        env=environment | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(process: subprocess.Popen, word: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if word in line:
            return
    raise AssertionError(f"ended with status {process.wait()} before {word!r}")


def test_a_killed_process_goes_on_as_if_nothing_had_happened(whole, tmp_path, capsys):
    process = start(tmp_path)
    wait_for(process, "step 4/6")
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    (run,) = (path.parent for path in tmp_path.rglob("config.yaml"))
    assert not (run / "summary.json").exists()
    (run / "checkpoints" / ".0123.ckpt").write_bytes(b"half of a checkpoint")

    assert train(tmp_path, "resume=auto") == run
    assert "goes on from" in capsys.readouterr().err
    assert results(run) == results(whole)
    assert same_weights(run, whole)
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]

    # Done is done: the same command has nothing to do.
    before = (run / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    assert train(tmp_path, "resume=auto") == run
    assert (run / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before


def test_a_terminated_process_saves_first_and_holds_its_folder(whole, tmp_path, capsys):
    process = start(tmp_path, "checkpoint_every=1000")
    wait_for(process, "step 2/6")
    process.send_signal(signal.SIGSTOP)
    (run,) = (path.parent for path in tmp_path.rglob("config.yaml"))
    assert is_held(run)
    assert main(["train", *TINY, f"runs={tmp_path}", "resume=auto", "checkpoint_every=1000"]) == 2
    assert f"process {process.pid} is at work" in capsys.readouterr().err
    process.terminate()
    process.send_signal(signal.SIGCONT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "resume=auto goes on from last.ckpt" in said and "Traceback" not in said
    assert not is_held(run)
    train(tmp_path, "resume=auto", "checkpoint_every=1000")
    assert results(run) == results(whole)
    assert same_weights(run, whole)


def test_a_cut_after_the_last_step_repeats_the_test_only(whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(SegmentationTask, "test_scores", lambda self: (_ for _ in ()).throw(Cut))
        with pytest.raises(Cut):
            main(["train", *TINY, f"runs={tmp_path}", "resume=auto"])
    cut_at(monkeypatch, 6)  # it would be cut again, were there a step left
    run = train(tmp_path, "resume=auto")
    assert results(run) == results(whole)


def test_another_configuration_is_another_run(tmp_path):
    folder = new_run_folder(tmp_path, "a", "0" * 12)
    assert find_run(tmp_path, "a", "0" * 12) == folder
    assert find_run(tmp_path, "a", "1" * 12) is None
    assert find_run(tmp_path, "b", "0" * 12) is None
    finished, later = new_run_folder(tmp_path, "a", "0" * 12), None
    (finished / "summary.json").write_text("{}")
    later = new_run_folder(tmp_path, "a", "0" * 12)
    assert later != finished and find_run(tmp_path, "a", "0" * 12) == finished


def test_a_checkpoint_of_any_run_can_be_named(whole, tmp_path, capsys):
    checkpoint = whole / "checkpoints" / "best.ckpt"
    run = train(tmp_path, f"resume={checkpoint}")
    assert "goes on from" in capsys.readouterr().err
    assert results(run)["summary"] == results(whole)["summary"]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["resume=/nowhere/last.ckpt"], ["/nowhere/last.ckpt", "resume=auto"]),
        (["resume={broken}"], ["broken.ckpt", "not readable"]),
        (["resume={other}"], ["other.ckpt", "last.ckpt"]),
        (["resume={checkpoint}", "model.box_head=16"], ["another net"]),
        (["checkpoint_every=0"], ["checkpoint_every=0"]),
    ],
    ids=["missing", "broken", "no checkpoint", "another net", "every"],
)
def test_one_line_for_what_cannot_go_on(overrides, words, whole, tmp_path, capsys):
    files = {"broken": tmp_path / "broken.ckpt", "other": tmp_path / "other.ckpt"}
    files["broken"].write_bytes(b"PK\x03\x04 nothing")
    torch.save({"a": torch.zeros(1)}, files["other"])
    files["checkpoint"] = whole / "checkpoints" / "last.ckpt"
    given = [part.format(**files) for part in overrides]
    assert main(["train", *TINY, f"runs={tmp_path / 'runs'}", *given]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("nucleist: ") and all(word in line for word in words), line


def poison(monkeypatch: pytest.MonkeyPatch, step: int, weights: bool) -> None:
    """Make the loss of a step NaN, or the weights after it."""
    forward, end = SegmentationTask._losses, SegmentationTask.on_train_batch_end

    def losses(self, images, targets):
        found = forward(self, images, targets)
        return (
            {k: v * float("nan") for k, v in found.items()} if self.global_step == step else found
        )

    def batch_end(self, *arguments):
        if self.global_step == step:
            torch.nn.init.constant_(next(self.parameters()), float("nan"))
        end(self, *arguments)

    monkeypatch.setattr(SegmentationTask, "_losses", forward if weights else losses)
    monkeypatch.setattr(SegmentationTask, "on_train_batch_end", batch_end if weights else end)


@pytest.mark.parametrize(
    ("step", "weights", "said"),
    [(5, False, "the loss is nan at step 5"), (4, True, "the weights are not finite after step 4")],
)
def test_what_is_not_a_number_leaves_the_last_good_checkpoint(
    step, weights, said, tmp_path, monkeypatch, capsys
):
    poison(monkeypatch, step, weights)
    options = [*TINY, f"runs={tmp_path}", "checkpoint_every=2", "val_every=6"]
    assert main(["train", *options]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert said in lines[-1] and "optim.optimizer.lr" in lines[-1]
    (checkpoint,) = tmp_path.rglob("last.ckpt")
    content = torch.load(checkpoint, weights_only=True)
    assert content["global_step"] == (2 if weights else 4)
    assert all(value.isfinite().all() for value in content["state_dict"].values())


@contextmanager
def full_disk(free: int):
    """Files may not grow beyond this many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(tmp_path, capsys):
    with full_disk(500_000):
        assert main(["train", *TINY, f"runs={tmp_path}", "checkpoint_every=1"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert "last.ckpt: cannot write (File too large)" in lines[-1]
    assert not [line for line in lines if "Traceback" in line]
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "last.ckpt"
    AtomicCheckpoints().save_checkpoint({"a": torch.zeros(3)}, path)
    before = path.read_bytes()
    with full_disk(50_000), pytest.raises(UserError, match=r"last\.ckpt: cannot write"):
        AtomicCheckpoints().save_checkpoint({"a": torch.zeros(100_000)}, path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_process_killed_while_saving_leaves_a_whole_checkpoint(tmp_path):
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


def test_an_unwritable_folder_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["train", *TINY, f"runs={tmp_path / 'file'}"]) == 2
    assert "set runs=FOLDER" in capsys.readouterr().err.strip().splitlines()[-1]


def test_random_numbers_go_on_where_they_were(tmp_path):
    import random

    import numpy as np

    def draw():
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    torch.save(random_state(), tmp_path / "state.pt")
    first = draw()
    set_random_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert draw() == first


def test_the_metrics_file_goes_on_and_forgets_what_is_done_again(tmp_path):
    path = tmp_path / "metrics.csv"
    log = MetricsFile(str(path))
    for step in range(4):
        log.log_metrics({"loss": 0.1 * step}, step)
    log.log_metrics({"map": torch.tensor(0.5)}, 3)
    log.finalize("success")
    again = MetricsFile(str(path))
    again.rewind(3)
    again.log_metrics({"loss": 7.0}, 3)
    again.save()
    assert path.read_text().split() == ["loss,step", "0.0,0", "0.1,1", "0.2,2", "7.0,3"]
    path.write_text("no table\n1\n")
    with pytest.raises(UserError, match="not a table of metrics"):
        MetricsFile(str(path))


def test_a_folder_is_free_again_afterwards(tmp_path):
    with holding(tmp_path):
        pass
    assert not is_held(tmp_path)
