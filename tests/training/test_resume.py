"""A run that is cut and goes on ends as one that was not, bit for bit; a failure is one line."""

import json
import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from support.lines import Lines
from support.runs import THIN, said, train

from nucleist.files import holding, is_held
from nucleist.training.task import SegmentationTask
from nucleist.types import DivergedError, UserError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_pictures")]

# Checkpoints after steps 3 and 6, validations after 2, 4 and 6: never both but at the end.
TINY = [part for part in THIN if part != "trainer=debug"]
TINY += ["trainer=cpu", "steps=6", "val_every=2", "checkpoint_every=3", "seed=7"]
TINY += ["trainer.log_every_n_steps=2", "data.annotation_fraction=0.5"]


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
    return train(tmp_path_factory.mktemp("whole"), *TINY)


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
def test_a_cut_anywhere_changes_nothing(every, step, goes_on_from, whole, tmp_path, monkeypatch):
    options = [*TINY, "resume=auto", f"checkpoint_every={every}"]
    with monkeypatch.context() as patch:
        cut_at(patch, step)
        with pytest.raises(Cut):
            train(tmp_path, *options)
    lines = Lines()
    run = train(tmp_path, *options, progress=lines)
    on = [line for line in lines.notes if "goes on from" in line]
    assert [line.rpartition(" ")[2] for line in on] == ([str(goes_on_from)] if goes_on_from else [])
    assert results(run) == results(whole)
    assert same_weights(run, whole)


def start(folder: Path, *overrides: str) -> subprocess.Popen:
    """The same in a process of its own, with as many threads as here."""
    words = ["nucleist", "train", *TINY, f"runs={folder}", "resume=auto", *overrides]
    return subprocess.Popen(
        [sys.executable, "-m", *words],
        env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
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


@pytest.mark.whole
def test_a_killed_process_goes_on_as_if_nothing_had_happened(whole, tmp_path):
    process = start(tmp_path)
    wait_for(process, "step 4/6")
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    (run,) = (path.parent for path in tmp_path.rglob("config.yaml"))
    assert not (run / "summary.json").exists()
    (run / "checkpoints" / ".0123.ckpt").write_bytes(b"half of a checkpoint")

    lines = Lines()
    assert train(tmp_path, *TINY, "resume=auto", progress=lines) == run
    assert any("goes on from" in line for line in lines.notes)
    assert results(run) == results(whole)
    assert same_weights(run, whole)
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]

    # Done is done: the same command has nothing to do.
    before = (run / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    lines = Lines()
    assert train(tmp_path, *TINY, "resume=auto", progress=lines) == run
    assert lines.notes == [f"{run}: is finished already"]
    assert (run / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before


@pytest.mark.whole
def test_a_terminated_process_saves_first_and_holds_its_folder(whole, tmp_path):
    process = start(tmp_path, "checkpoint_every=1000")
    wait_for(process, "step 2/6")
    process.send_signal(signal.SIGSTOP)
    (run,) = (path.parent for path in tmp_path.rglob("config.yaml"))
    assert is_held(run)
    with pytest.raises(UserError, match=rf"-{process.pid}: another process is at work in it"):
        train(tmp_path, *TINY, "resume=auto", "checkpoint_every=1000")
    process.terminate()
    process.send_signal(signal.SIGCONT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "resume=auto goes on from last.ckpt" in told and "Traceback" not in told
    assert not is_held(run)
    train(tmp_path, *TINY, "resume=auto", "checkpoint_every=1000")
    assert results(run) == results(whole)
    assert same_weights(run, whole)


def test_a_cut_after_the_last_step_repeats_the_test_only(whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(SegmentationTask, "test_scores", lambda self: (_ for _ in ()).throw(Cut))
        with pytest.raises(Cut):
            train(tmp_path, *TINY, "resume=auto")
    cut_at(monkeypatch, 6)  # it would be cut again, were there a step left
    run = train(tmp_path, *TINY, "resume=auto")
    assert results(run) == results(whole)


def test_a_run_folder_stands_for_its_last_checkpoint(whole, tmp_path):
    lines = Lines()
    run = train(tmp_path, *TINY, f"resume={whole}", progress=lines)
    assert any("goes on from" in line and "last.ckpt" in line for line in lines.notes)
    summary = json.loads((run / "summary.json").read_text())
    assert summary["test"] == results(whole)["summary"]["test"]


def test_a_checkpoint_of_any_run_can_be_named(whole, tmp_path):
    lines, checkpoint = Lines(), whole / "checkpoints" / "best.ckpt"
    run = train(tmp_path, *TINY, f"resume={checkpoint}", progress=lines)
    assert any("goes on from" in line for line in lines.notes)
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
def test_one_line_for_what_cannot_go_on(overrides, words, whole, tmp_path):
    files = {"broken": tmp_path / "broken.ckpt", "other": tmp_path / "other.ckpt"}
    files["broken"].write_bytes(b"PK\x03\x04 nothing")
    torch.save({"a": torch.zeros(1)}, files["other"])
    files["checkpoint"] = whole / "checkpoints" / "last.ckpt"
    given = [part.format(**files) for part in overrides]
    with pytest.raises(UserError) as error:
        train(tmp_path / "runs", *TINY, *given)
    line = str(error.value)
    assert "\n" not in line and all(word in line for word in words), line
    assert not (tmp_path / "runs").exists()  # what is refused leaves no folder


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
    ("step", "weights", "kind", "words"),
    [
        (5, False, DivergedError, "the loss is nan at step 5"),
        (4, True, UserError, "the weights are not finite after step 4"),
    ],
)
def test_what_is_not_a_number_leaves_the_last_good_checkpoint(
    step, weights, kind, words, tmp_path, monkeypatch
):
    poison(monkeypatch, step, weights)
    with pytest.raises(kind, match=f"{words}.*optim.optimizer.lr"):
        train(tmp_path, *TINY, "checkpoint_every=2", "val_every=6")
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
        words = ["train", *TINY, f"runs={tmp_path}", "checkpoint_every=1"]
        line = said(capsys, *words, last=True)
    assert "last.ckpt: cannot write (File too large)" in line
    assert not list(tmp_path.rglob("*.ckpt"))


def test_an_unwritable_folder_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="set runs=FOLDER"):
        train(tmp_path / "file", *TINY)


def test_a_folder_is_free_again_afterwards(tmp_path):
    with holding(tmp_path):
        pass
    assert not is_held(tmp_path)
