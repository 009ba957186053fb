"""What a search consists of, and what it will take."""

from pathlib import Path

import pytest
from support.sweeps import CONF, earlier_run

from nucleist.sweeps.api import plan_search
from nucleist.types import UserError

pytest.importorskip("optuna", reason="needs the search extra")
SPACES = sorted(p.stem for p in (CONF / "search").glob("*.yaml") if p.stem != "base")


@pytest.mark.parametrize("name", SPACES)
def test_a_plan_names_what_is_searched_and_starts_nothing(name: str, tmp_path: Path) -> None:
    words = [f"search={name}", "search.trials=7"]
    text = plan_search(overrides=words, runs=tmp_path).describe()
    assert "optim.optimizer.lr = tag(log,interval(" in text
    assert "maximize val/map_pooled of the last validation" in text
    assert "the test images (data.splits.val=test)" in text
    assert "7 trials, 0 done; time unknown" in text
    assert not list(tmp_path.iterdir())


def test_a_plan_judges_by_the_last_run_of_that_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4 trials of 600 steps at 1.25 s, two at a time: 25 minutes; so it is on two GPUs."""
    earlier = earlier_run(tmp_path)
    words = ["search=pa", "search.trials=4"]
    text = plan_search(overrides=words, runs=tmp_path, jobs=2).describe()
    assert "about 25 min with jobs=2" in text and f"estimated from {earlier}" in text
    monkeypatch.setattr("nucleist.sweeps.launchers.visible_devices", lambda: ["0", "1"])
    text = plan_search(overrides=words, runs=tmp_path).describe()
    assert "about 25 min with jobs=2" in text


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        (["search=pb"], ["pb", "pa"]),
        (["search=base"], ["space", "pa or optim"]),
        (["search=pa", "sweep=seeds"], ["search= and sweep="]),
        (["search=pa", "search.trials=0"], ["search.trials=0"]),
        (["search=pa", "search.metric=test/map"], ["test/map", "val/map_pooled"]),
        (["search=pa", "steps=40", "val_every=50"], ["val_every=50", "40 or less"]),
        (["search=pa", "trainer=ddp"], ["one device"]),
        (["search=pa", "model=mask_rcnn"], ["model.center"]),
        (["search=pa", "seed=0,1"], ["seed", "give one"]),
        (["search=pa", "jobs=0"], ["jobs=0"]),
        (["search=pa", "search.direction=up"], ["search.direction=up", "maximize"]),
        (["seed=1"], ["search=NAME", "pa or optim"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_what_is_no_search_is_one_line(
    words: list[str], messages: list[str], tmp_path: Path
) -> None:
    with pytest.raises(UserError) as error:
        plan_search(overrides=[f"runs={tmp_path}", *words])
    assert all(message in str(error.value) for message in messages), error.value
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())
