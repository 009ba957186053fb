"""A small table of several models without a report: one row a model, one column a score."""

from collections.abc import Mapping, Sequence

from nucleist.report.table import over_seeds
from nucleist.training.finished import Run

SCORES = ("map", "aji", "ncs", "precision", "recall", "pq")


def markdown_table(
    runs: Mapping[str, Sequence[Run]], part: str = "test", average: str = "pooled"
) -> str:
    """Scores of some models as a Markdown table.

    Args:
        runs: Finished runs of each model, one for each seed.
        part: `test` (fixed threshold), `test_calibrated` or `test_best_threshold`.
        average: `pooled` or `per_image`.
    """
    head = ["model", "labelled nuclei", "score threshold", *SCORES]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, some in runs.items():
        counts = dict.fromkeys(str(run.summary["labelled_nuclei"]) for run in some)
        values = [[run.threshold(part) for run in some]]
        values += [[run.score(part, score, average) for run in some] for score in SCORES]
        cells = [name, "/".join(counts), *map(_over_seeds, values)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _over_seeds(values: Sequence[float | None]) -> str:
    return str(over_seeds(value for value in values if value is not None) or "")
