"""The warning of a poor coarse mask, and the number in log and summary."""

import json

import pytest
from support.lines import Lines
from support.runs import IMAGES, train

import nucleist
from nucleist.training.coarse import warn_of_coarse
from nucleist.training.finished import read_rows
from nucleist.training.task import ScoresAt, TestScores

REST = ("augment.crop=48", "trainer.limit_test_batches=2")


def scores_of(value):
    at = ScoresAt(0.5, {} if value is None else {"coarse_mean_iu_per_image": value})
    return TestScores(at, at, (), [])


@pytest.mark.parametrize(
    ("values", "warned"),
    [([0.81], "0.81"), ([0.82], None), ([None, 0.5], "0.50"), ([0.9, 0.5], None), ([None], None)],
)
def test_a_mean_iu_below_that_of_the_paper_is_warned_of(values, warned):
    lines = Lines()
    warn_of_coarse(lines, None, *map(scores_of, values))
    assert len(lines.warnings) == (warned is not None)
    if warned:
        assert lines.warnings[0].startswith(f"the coarse mask has a mean IU of {warned}; below 0.8")


@pytest.mark.slow
def test_a_run_of_two_nets_logs_it_warns_and_has_it_in_its_summary(tmp_path):
    lines = Lines()
    model = ["model=unet_foreground", "model.coarse.width=2", "model.fine.width=2"]
    run = train(tmp_path, *model, *IMAGES, "trainer=debug", *REST, progress=lines)
    assert any("the coarse mask has a mean IU of 0." in line for line in lines.warnings)
    summary = json.loads((run / "summary.json").read_text())
    found = summary["test"]["coarse_mean_iu"]
    assert 0 < found["per_image"] < 0.82 and 0 < found["pooled"] < 0.82
    logged = [row["val/coarse_mean_iu_per_image"] for row in read_rows(run / "metrics.csv")]
    assert any(logged)
    again = Lines()
    scores = nucleist.evaluate(run, progress=again).summary["test"]
    assert scores["coarse_mean_iu"] == found
    assert any("the coarse mask" in line for line in again.warnings)
