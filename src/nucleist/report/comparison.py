"""A small table of several models without a report: one row a model, one column a score."""

from collections.abc import Mapping, Sequence

from nucleist.report.table import over_seeds
from nucleist.training.finished import LABELLED, Run

SCORES = ("map", "aji", "ncs", "precision", "recall", "pq")


def markdown_table(
    runs: Mapping[str, Sequence[Run]], part: str = "test", average: str = "pooled"
) -> str:
    """Scores of some models as a Markdown table, a column for each score that some run has.

    Args:
        runs: Finished runs of each model, one for each seed.
        part: `test` (fixed threshold), `test_calibrated`, `test_best_threshold` or `validation`.
        average: `pooled` or `per_image`.
    """
    every = [run for some in runs.values() for run in some]
    shown = [
        score
        for score in (*SCORES, *LABELLED)
        if any(run.score(part, score, average) is not None for run in every)
    ]
    head = ["model", "labelled nuclei", "score threshold", *shown]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, some in runs.items():
        counts = dict.fromkeys(str(run.summary["labelled_nuclei"]) for run in some)
        values = [[run.threshold(part) for run in some]]
        values += [[run.score(part, score, average) for run in some] for score in shown]
        cells = [name, "/".join(counts), *map(_over_seeds, values)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _over_seeds(values: Sequence[float | None]) -> str:
    return str(over_seeds(value for value in values if value is not None) or "\N{EN DASH}")
