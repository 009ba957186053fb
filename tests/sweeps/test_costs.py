"""What runs have taken, and how that is worded."""

import json
import os
from pathlib import Path

import pytest
from support.sweeps import earlier_run

from nucleist.config.compose import compose
from nucleist.progress import duration
from nucleist.sweeps.costs import costs_of, kind_of, size


def test_the_latest_run_of_a_kind_counts(tmp_path: Path) -> None:
    first = earlier_run(tmp_path / "a")
    second = earlier_run(tmp_path / "b")
    (second / "summary.json").write_text(json.dumps({"train_seconds": 60, "steps": 600}))
    os.utime(second / "summary.json", (1, 1))
    kind = kind_of(compose("train", []))
    assert costs_of(tmp_path)[kind].run == first
    os.utime(second / "summary.json", (2e9, 2e9))
    cost = costs_of(tmp_path)[kind]
    assert (cost.run, cost.seconds_per_step) == (second, 0.1)
    assert cost.size == sum(path.stat().st_size for path in second.iterdir())


def test_other_data_have_the_same_cost_and_other_nets_have_not(tmp_path: Path) -> None:
    earlier_run(tmp_path)
    costs = costs_of(tmp_path)
    kumar = kind_of(compose("train", ["data=kumar"]))
    assert kumar not in costs and kumar[:-1] in costs
    assert kind_of(compose("train", ["model=mask_rcnn"]))[:-1] not in costs
    assert kind_of(compose("train", ["data.batch_size=1"]))[:-1] not in costs


@pytest.mark.parametrize(
    "summary",
    [
        *("{", "{}", "[]", '{"train_seconds": 5}'),
        *('{"train_seconds": "x", "steps": 1}', '{"train_seconds": 5, "steps": 0}'),
    ],
)
def test_what_is_no_run_of_ours_is_left_out(summary: str, tmp_path: Path) -> None:
    run = earlier_run(tmp_path)
    (run / "summary.json").write_text(summary)
    assert costs_of(tmp_path) == {}
    (run / "summary.json").write_text('{"train_seconds": 5, "steps": 1}')
    (run / "config.yaml").unlink()
    assert costs_of(tmp_path) == {}


def test_words() -> None:
    assert [duration(s) for s in (0.4, 45, 99, 100, 750, 5999, 12_000)] == [
        *("0 s", "45 s", "99 s", "2 min", "12 min", "1 h 40 min", "3 h 20 min"),
    ]
    assert [size(b) for b in (58e6, 1.6e9)] == ["58 MB", "1.6 GB"]
