"""Table 1c: kinds of errors, from summaries written by hand."""

from support.reports import BASELINE, make_run, scores

from nucleist.report.error_tables import table1c
from nucleist.report.find import find_runs
from nucleist.report.grouping import group_runs


def part(separated, merges, threshold=0.5):
    """A part of a summary with NuSeT's measures; means over images are 0.01 more."""
    rates = {"touching_separated": separated, "missed_rate": 0.2, "spurious_rate": 0.1}
    rates |= {"pixel_mean_iu": 0.9, "pixel_rmse": 0.05}
    both = {name: {"pooled": v, "per_image": round(v + 0.01, 6)} for name, v in rates.items()}
    return scores(threshold, 0.5) | both | {"correct": 300, "merge": merges, "split": 4}


def tables(folder):
    (found,), _ = group_runs(find_runs([folder])[0])
    return {table.key: table for table in table1c(found)}


def test_objects_are_pooled_and_pixels_are_means_over_images(tmp_path):
    for seed, share, merges in ((0, 0.4, 30), (1, 0.6, 20)):
        summary = {"test": part(share, merges), "test_calibrated": part(share + 0.1, merges, 0.3)}
        make_run(tmp_path, "a", seed, BASELINE, summary=summary)
    found = tables(tmp_path)
    assert list(found) == ["table1c_bbbc038_last_test", "table1c_bbbc038_last_test_calibrated"]
    fixed, calibrated = found.values()
    row = dict(zip([c.name for c in fixed.columns], fixed.rows[0].cells, strict=True))
    assert str(row["touching_separated_pooled"]) == "0.500 ± 0.100"
    assert str(row["pixel_mean_iu_per_image"]) == "0.910 ± 0.000"
    assert (row["correct"], str(row["merge"]), row["split"]) == (300, "25 ± 5", 4)
    assert not {"coarse_mean_iu_per_image", "catastrophe"} & row.keys()  # no run has them
    assert fixed.headline and not calibrated.headline
    assert str(calibrated.rows[0].cells[4]) == "0.600 ± 0.100"


def test_runs_without_these_measures_have_no_row(tmp_path):
    make_run(tmp_path, "earlier", 0, BASELINE)
    assert tables(tmp_path) == {}
    make_run(tmp_path, "now", 0, BASELINE, summary={"test": part(0.5, 3)}, fraction=0.5)
    (table,) = tables(tmp_path).values()
    assert [row.cells[0] for row in table.rows] == ["now"]
