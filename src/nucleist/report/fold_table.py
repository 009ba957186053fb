"""Cross-validation in a report: scores over folds and seeds with intervals, and differences.

The runs of a group that differ in `data.fold` are replicates, like seeds. mAP is pooled over the
test images of all folds, then averaged over seeds; intervals are of `nucleist.metrics.replicates`.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from nucleist.metrics.match_counts import COLUMNS
from nucleist.metrics.replicates import Estimate, Replicate, added_up, estimate
from nucleist.report.grouping import Benchmark, RunGroup
from nucleist.report.settings import fold_of
from nucleist.report.table import Column, Row, Table, Value, WithInterval, setting_over_seeds
from nucleist.training.finished import PARTS, Run, number, read_rows

KINDS = ("test_calibrated", "test")
"""The parts of a summary that are shown, the headline first."""

NOTE = (
    "mAP pooled over the test images of the folds, each of which tests once, then the mean over "
    "seeds; last checkpoints. In brackets 95 % intervals of a bootstrap over groups of test images "
    "(fields, patients) within their folds, then seeds; with one seed, how seeds differ is not in "
    "them. Differences are paired: the same folds, seeds and images."
)


def fold_table(benchmark: Benchmark) -> Table | None:
    """Scores over folds with intervals; None if no run is a fold of a cross-validation.

    Runs without `match_counts.csv`, which earlier versions did not write, are left out.
    """
    groups = [g for g in benchmark.groups if any(fold_of(run) is not None for run in g.runs)]
    full, rows = benchmark.full(), []
    for group in groups:
        found = _estimate([group], KINDS[0])
        if found is None:
            continue
        cells: list[Value] = [
            *(group.brief or group.title, group.annotation, setting_over_seeds(group.nuclei)),
            *(len(found.folds), len(found.seeds), found.groups),
            *(_cell(_estimate([group], part)) for part in KINDS),
        ]
        rows.append(Row((*cells, *_against(group, full)), group.key))
    notes = (NOTE, *_compared(full)) if rows else ()
    table = Table(
        f"folds_{benchmark.key}", "Cross-validation: mAP over folds and seeds", COLUMN, tuple(rows),
        notes,
    )  # fmt: skip
    return table.without_empty_columns() if rows else None


COLUMN = (
    Column("model", "model"),
    Column("annotation", "labels"),
    Column("labelled_nuclei", "labelled nuclei"),
    Column("folds", "folds", folds=True),
    Column("seeds", "seeds", folds=True),
    Column("test_groups", "groups that test", folds=True),
    *(Column(f"map_{part}", f"mAP, {PARTS[part]}") for part in KINDS),
    Column("minus_all_labels", "minus all labels, calibrated"),
    Column("of_all_labels", "of all labels, calibrated"),
)


def _compared(full: RunGroup | None) -> Iterator[str]:
    if full is not None:
        yield f"All labels: {full.title}."


def _against(group: RunGroup, full: RunGroup | None) -> list[Value]:
    """Difference to and share of the net with all labels."""
    if full is None or full is group:
        return [None, None]
    pair = [group, full]
    return [_cell(_estimate(pair, KINDS[0], how)) for how in (np.subtract, np.divide)]


def _estimate(
    groups: Sequence[RunGroup], part: str, combine: np.ufunc | None = None
) -> Estimate | None:
    arms = [[one for run in group.runs if (one := replicate(run, part))] for group in groups]
    return estimate(arms, combine)


def _cell(found: Estimate | None) -> WithInterval | None:
    return None if found is None else WithInterval(*found.interval)


def replicate(run: Run, part: str) -> Replicate | None:
    """What a run found in the groups of images that its fold tests.

    Args:
        run: A finished run.
        part: A key of `PARTS`: the kind of score threshold.

    Returns:
        None if the run is no fold, or has no counts at the threshold.
    """
    fold, threshold = fold_of(run), run.threshold(part)
    if fold is None or threshold is None:
        return None
    images: dict[str, np.ndarray] = {}
    groups: dict[str, str] = {}
    for row in read_rows(run.folder / "match_counts.csv"):
        at, counts = number(row.get("score_threshold")), [number(row.get(c)) for c in COLUMNS]
        if at is not None and abs(at - threshold) < 1e-6 and None not in counts:
            images[row["image"]] = np.array(counts)
            groups[row["image"]] = row["group"]
    return Replicate(fold, run.seed, added_up(images, groups)) if images else None
