"""What a search consists of, and what it will take."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.sweeps import CONF, earlier_run

from nucleist.sweeps.api import plan_search
from nucleist.types import UserError

pytest.importorskip("optuna", reason="needs the search extra")

pytestmark = pytest.mark.slow


def write(place: Path) -> None:
    """An image and its labels."""
    labels = np.zeros((16, 16), np.uint8)
    labels[2:8, 2:8], labels[9:15, 9:15] = 1, 2
    place.parent.mkdir(exist_ok=True)
    Image.fromarray(90 * labels).save(f"{place}.png")
    Image.fromarray(labels).save(f"{place}_labels.png")


SPACES = sorted(p.stem for p in (CONF / "search").glob("*.yaml") if p.stem != "base")


@pytest.mark.parametrize("name", SPACES)
def test_a_plan_names_what_is_searched_and_starts_nothing(name: str, tmp_path: Path) -> None:
    words = [f"search={name}", "search.trials=7"]
    text = plan_search(overrides=words, runs=tmp_path).describe()
    assert "optim.optimizer.lr = tag(log,interval(" in text
    assert "maximize val/map_pooled (where the validation gives none: val/labelled_" in text
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
    ("words", "told"),
    [
        ([], "of which 20 % are held out of each training (data.held_out)"),
        (["data.held_out=0.1"], "of which 10 % are held out"),
        (["data.validation=nuclei", "data.source.val_fraction=0.2"], "of which 20 % are held"),
        (["data.source.complete=true"], "split val, apart from the test images"),
        (["data.splits.val=test"], "the test images (data.splits.val=test)"),
        (["data.splits.val=test", "data.source.test_fraction=0"], "of which 20 % are held out"),
        (["search.metric=val/aji_pooled"], "maximize val/aji_pooled of the last validation"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_trials_on_a_folder_are_judged_by(words: list[str], told: str, tmp_path: Path) -> None:
    for number in range(20):
        write(tmp_path / "mine" / str(number))
    plan = plan_search(tmp_path / "mine", overrides=["search=pa", *words], runs=tmp_path / "runs")
    assert told in plan.describe()


def test_trials_without_any_validation_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "mine" / "a")
    for words, told in (
        (["data.held_out=null"], "data.held_out=null: no nuclei are held out, so no trial"),
        (["data.supervision=binary"], "data.splits.val=val: the data set has no such images"),
    ):
        with pytest.raises(UserError, match=told):
            plan_search(tmp_path / "mine", overrides=["search=optim", *words], runs=tmp_path / "r")


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
