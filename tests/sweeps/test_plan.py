"""What the runs of a sweep are, and what they will take."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from support.sweeps import CONF, earlier_run, python

from nucleist.config.build import build
from nucleist.config.compose import compose
from nucleist.sweeps.api import plan_sweep
from nucleist.sweeps.launchers import command_of
from nucleist.sweeps.plan import Plan
from nucleist.sweeps.sweep import WAITING, work
from nucleist.training.resume import mark_of, prepare
from nucleist.types import UserError

pytestmark = pytest.mark.slow


def rows_of(plan: Plan) -> list[str]:
    """The lines of a plan that describe runs."""
    return [line for line in plan.describe().splitlines() if " waiting " in line]


def test_a_plan_starts_nothing(tmp_path: Path) -> None:
    plan = plan_sweep(grid={"data.exemplars": [1, 2], "seed": [0, 1]}, jobs=2, runs=tmp_path)
    lines = rows_of(plan)
    assert len(lines) == 4 and all("unknown" in line for line in lines)
    assert lines[1].endswith("synthetic_mask_rcnn_pa data.exemplars=1 seed=1")
    assert "4 runs, 0 done; time unknown: no such net was trained yet" in plan.describe()
    assert not list(tmp_path.iterdir())


def test_a_plan_judges_by_the_last_run_of_that_kind(tmp_path: Path) -> None:
    """600 steps of 1.25 s in the earlier run: 12.5 min; two at a time: 25 min for four, not 50."""
    earlier = earlier_run(tmp_path)
    (earlier / "weights").write_bytes(bytes(3_000_000))
    grid = {"seed": [0, 1, 2, 3]}
    plan = plan_sweep(grid=grid, jobs=2, runs=tmp_path)
    assert all("12 min     3 MB" in line for line in rows_of(plan))
    assert "about 25 min with jobs=2, 12 MB of" in plan.describe()
    assert f"estimated from {earlier}" in plan.describe()
    other = plan_sweep(grid={"seed": [0, 1]}, jobs=2, runs=tmp_path, model="mask_rcnn")
    assert all("unknown" in line for line in rows_of(other))


def test_without_jobs_a_plan_takes_the_launcher_s_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two GPUs: two at a time. A queue: all at a time, as long as one of them: 12.5 min."""
    earlier_run(tmp_path)
    given: dict[str, Any] = {"grid": {"seed": [0, 1, 2, 3]}, "runs": tmp_path}
    monkeypatch.setattr("nucleist.sweeps.launchers.visible_devices", lambda: ["0", "1"])
    assert "about 25 min with jobs=2" in plan_sweep(**given).describe()
    queued = plan_sweep(**given, launcher="submitit")
    assert "about 12 min with jobs=4" in queued.describe()
    many = plan_sweep(**given, launcher="submitit", jobs=400)
    assert "about 12 min with jobs=400" in many.describe()


def test_a_name_may_be_a_number(tmp_path: Path) -> None:
    plan = plan_sweep(overrides=["name=3,4"], runs=tmp_path)
    assert [run.name for run in plan.sweep.runs] == ["3", "4"]


def test_a_larger_sweep_names_the_folder_where_some_of_it_is_done(tmp_path: Path) -> None:
    """Another seed makes another sweep; in the folder of the old one it goes on."""
    first = plan_sweep(grid={"seed": [0, 1]}, runs=tmp_path)
    old, run = first.sweep.folder, first.sweep.runs[1]
    done = old / run.name / f"20260101-000000-{run.mark}-1"
    done.mkdir(parents=True)
    for name in ("sweep.json", f"{done.relative_to(old)}/summary.json"):
        (old / name).write_text("{}")
    larger = plan_sweep(grid={"seed": [0, 1, 2]}, runs=tmp_path).describe()
    assert f"1 of them are finished in {old}; folder={old} goes on there" in larger
    there = plan_sweep(grid={"seed": [0, 1, 2]}, runs=tmp_path, folder=old).describe()
    assert "3 runs, 1 done" in there


def test_a_plan_shows_what_failed(tmp_path: Path) -> None:
    """And after a try that was interrupted it still does."""
    folder = tmp_path / "s"
    given: dict[str, Any] = {"grid": {"seed": [0, 1]}, "runs": tmp_path, "folder": folder}
    sweep = plan_sweep(**given).sweep
    work(
        sweep,
        lambda run, _: python(sweep, run, f"raise SystemExit({run.number - 1})"),
        1,
        every=0.02,
    )
    sweep.runs[0].status = WAITING  # it left no summary, so it is not done
    for _ in range(2):
        text = plan_sweep(**given).describe()
        table = [line.split()[1] for line in text.splitlines() if "synthetic_mask" in line]
        assert table == ["waiting", "failed"]
        log = folder / "logs" / "002.log"
        assert f"run 2 failed, will be tried again; see {log}" in text
        sweep.refresh()
        sweep.save()
        assert [run.status for run in sweep.runs] == [WAITING, WAITING]


@lru_cache
def named(sweep: str, preset: str) -> Plan:
    """A named sweep of 1000 steps called x; nothing is written."""
    settings = {"preset": preset, "steps": 1000, "name": "x", "runs": "no_such_folder"}
    return plan_sweep(sweep=sweep, **settings)


@pytest.mark.parametrize("name", sorted(p.stem for p in (CONF / "sweep").glob("*.yaml")))
def test_every_named_sweep_composes(name: str) -> None:
    assert len(named(name, "compact").sweep.runs) > 1
    assert named(name, "compact").sweep.title == name


def test_a_run_finds_its_own_folder_again() -> None:
    """The hash in the plan is the one that the run's process computes."""
    experiment = plan_sweep("bbbc360_25_pa", seed=3, grid={"data.exemplars": [1, 2]})
    variants = named("ablation", "compact").sweep
    for sweep, runs in ((experiment.sweep, experiment.sweep.runs), (variants, variants.runs[:3])):
        for run in runs:
            config = compose("train", command_of(sweep, run)[4:])
            assert prepare(config) == "auto"
            assert (config.name, mark_of(config)) == (run.name, run.mark)


def test_the_ablation_trains_each_variant_once() -> None:
    # The default already attends on P2, suppresses in both, has no warm-up, threshold 0.5 and
    # a missed ratio of 0.
    assert [run.name for run in named("ablation", "compact").sweep.runs] == [
        f"x_{variant}"
        for variant in (
            "reference", "attention_none", "attention_all", "suppress_none", "suppress_rpn",
            "suppress_roi", "propose_never", "warmup_short", "warmup_long", "threshold_30",
            "threshold_70", "threshold_95",
            "missed_20", "missed_40", "missed_80",
        )
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("preset", "levels"),
    [("compact", ["p2", "p3", "p4"]), ("resnet50", ["c4", "c5", "p2", "p3", "p4", "p5"])],
)
def test_the_ablation_fits_preset_and_length(preset: str, levels: list[str]) -> None:
    """A tenth and a half of 1000 steps; all levels that the body has."""
    found = {line.split()[4]: line for line in rows_of(named("ablation", preset))}
    assert "callbacks.warmup.steps=100" in found["x_warmup_short"]
    assert "callbacks.warmup.steps=500" in found["x_warmup_long"]
    config = compose("train", [f"preset={preset}"])
    assert config.attention_levels == levels
    # Whichever of the two is the preset's own is the reference, and is not trained twice.
    expected = {"compact": "attention_all", "resnet50": "attention_p2"}[preset]
    assert {name for name in found if "attention_p" in name or "attention_a" in name} == {
        f"x_{expected}"
    }
    if preset == "compact":
        assert found["x_attention_all"].endswith("attention=[p2,p3,p4]")
    # There is a body with them, and none with more.
    body = compose("train", [f"preset={preset}", f"attention=[{','.join(levels)}]"]).model.backbone
    build(body)
    with pytest.raises(UserError, match="p9"):
        build(body, attention=[*levels, "p9"])


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        (["trainer=ddp", "seed=0,1"], ["one device", "jobs=N"]),
        (["trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu"], ["without -m"]),
        (["seed=interval(0,1)"], ["interval", "key=value,value"]),
        (["seed"], ["'seed'", "key=value"]),
        (["sead=0,1"], ["sead", "seed"]),
        (["seed=0,1", "jobs=0"], ["jobs=0"]),
        (["seed=0,1", "jobs=half"], ["jobs=half"]),
        (["seed=0,1", "launcher=slurm"], ["slurm", "submitit"]),
        (["sweep=ablatio"], ["ablatio", "ablation"]),
        (["sweep=ablation", "model=mask_rcnn"], ["model.suppress_rpn"]),
        (["seed=0,1", "hydra.sweep.dir=x"], ["hydra.sweep.dir=x", "runs="]),
        (["model=null"], ["model=null", "mask_rcnn_pa"]),
        (["sweep=null"], ["sweep=null", "ablation, annotation_fraction, seeds"]),
        (["sweep=nope"], ["'nope'; there is ablation, annotation_fraction, seeds"]),
        (["~model"], ["model is empty"]),
        (["data.source=null"], ["data.source is empty"]),
        (["steps=abc"], ["steps=abc", "not a number"]),
        (["steps=0"], ["steps=0", "1 or more"]),
        (["optim.optimizer.lr=x"], ["optim.optimizer.lr=x", "not a number"]),
        (["model.suppress_rpn=3"], ["neither true nor false"]),
        (["steps=-5"], ["steps=-5", "1 or more"]),
        (["sweep=ablation", "preset=none", "model=dist"], ["names no attention_levels"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_what_is_no_sweep_is_one_line(
    words: list[str], messages: list[str], tmp_path: Path
) -> None:
    with pytest.raises(UserError) as error:
        plan_sweep(overrides=[f"runs={tmp_path}", *words])
    assert all(message in str(error.value) for message in messages), error.value
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())
