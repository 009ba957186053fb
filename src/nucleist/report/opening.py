"""How a report begins: a picture and three sentences on one run.

They say what it was trained on, what it found and on how many nuclei that stands, and which
checkpoint to use how.
"""

import shlex
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from nucleist.report.charts import Chart
from nucleist.report.grouping import Benchmark, RunGroup
from nucleist.report.settings import annotation_of, held_out_of, images_of, is_binary, model_title
from nucleist.training.finished import Run, number


class Opening(NamedTuple):
    """The beginning of a section.

    Attributes:
        picture: Of the run that the sentences are about; None if it has none.
        sentences: Three, or fewer if a run does not tell.
        command: The next command.
    """

    picture: Chart | None
    sentences: tuple[str, ...]
    command: str


def opening(benchmark: Benchmark, pictures: Sequence[tuple[RunGroup, Sequence[Chart]]]) -> Opening:
    """The opening of a benchmark: on its model with the highest score, the first seed.

    Args:
        benchmark: Models on the same images.
        pictures: Those of each model.
    """
    group = max(benchmark.groups, key=_rank)
    run = group.runs[0]
    of_group = next((some for one, some in pictures if one is group), ())
    sentences = (_trained(benchmark, group), _found(run), _use(run))
    command = shlex.join(["nucleist", "predict", str(run.folder), "new_images", "-o", "out"])
    return Opening(next(iter(of_group), None), tuple(filter(None, sentences)), command)


def _rank(group: RunGroup) -> tuple[float, float]:
    """Mean over seeds of mAP, then of the labelled nuclei that were found."""
    ranks = []
    for metric in ("map", "labelled_recall_50"):
        every = [run.score(_part(run), metric) for run in group.runs]
        ranks.append(fmean([value for value in every if value is not None] or [-1.0]))
    return ranks[0], ranks[1]


def _part(run: Run) -> str:
    """The part of the summary with the scores at the calibrated threshold."""
    return "test_calibrated" if run.has_test else "validation"


def _trained(benchmark: Benchmark, group: RunGroup) -> str:
    """What the model learned from."""
    run, images = group.runs[0], images_of(group.runs[0])
    where = f" in {_count(images, 'training image')}" if images else ""
    nuclei = _count(int(number(run.summary["labelled_nuclei"]) or 0), "labelled nucleus")
    what = f"the foreground{where}" if is_binary(run) else f"{nuclei}{where}"
    held = held_out_of(run)
    more = f"; {_count(held, 'labelled nucleus')} more {_was(held)} held out" if held else ""
    steps = number(run.summary.get("steps"))
    time = f" in {steps:.0f} steps" if steps is not None else ""
    others = len(benchmark.groups) - 1
    beside = f" (the highest score of {others + 1} models here)" if others else ""
    seeds = f" (seed {run.seed} of {len(group.runs)} seeds)" if len(group.runs) > 1 else ""
    name = f"{model_title(run)}{beside}{seeds}"
    kept = annotation_of(run)
    share = f" ({kept} of the labels)" if kept.endswith(" %") else ""
    return f"{name} was trained on {what}{share}{time}{more}."


def _found(run: Run) -> str:
    """What it found, and on how many nuclei that stands; empty if the run does not tell."""
    part = _part(run)
    scores, rows = _recommended(run).get(part) or {}, run.images(part)
    where = _where(run, rows)
    if (quality := _pooled(scores, "map")) is not None:
        return f"{where}{_complete(scores, rows)} its mAP is {quality:.3f}{_at(scores)}."
    recall, nuclei = _pooled(scores, "labelled_recall_50"), number(scores.get("labelled_nuclei"))
    if recall is None or not nuclei:
        return ""
    unjudged = int(number(scores.get("unjudged")) or 0)
    more = f"; nobody has judged {unjudged} of its detections" if unjudged else ""
    held = held_out_of(run) and not run.has_test
    kind = "held-out" if held else "labelled"
    found = f"{recall * nuclei:.0f} of {_count(int(nuclei), f'{kind} nucleus')}"
    return (
        f"{where} it found {found} ({100 * recall:.0f} %) at an IoU above 0.5{_at(scores)}{more}."
    )


def _where(run: Run, rows: Sequence[Mapping[str, Any]]) -> str:
    kind = "test" if run.has_test else "training" if held_out_of(run) else "validation"
    return f"In {_count(len(rows), f'{kind} image')}" if rows else f"In the {kind} images"


def _complete(scores: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """The nuclei, and the share of the area, that whole scores stand on."""
    nuclei = sum(int(row.get("nuclei", 0)) for row in rows)
    share = number(scores.get("complete_area"))
    area = (
        f", on the {100 * share:.0f} % of the area that is complete," if share is not None else ""
    )
    return f" with {_count(nuclei, 'nucleus')}{area}" if nuclei else area


def _use(run: Run) -> str:
    """Which checkpoint is recommended and why; empty if the run does not tell."""
    choice = run.summary.get("recommended")
    if not isinstance(choice, dict):
        return "Its last checkpoint finds nuclei in new images with the command below."
    step = number(_recommended(run).get("step")) if choice.get("checkpoint") == "best" else None
    at = f" (step {step:.0f})" if step is not None else ""
    why = f": {choice['why']}" if choice.get("why") else ""
    return (
        f"The {choice.get('checkpoint')} checkpoint{at} is recommended{why}; "
        "the command below uses it on new images."
    )


def _recommended(run: Run) -> Mapping[str, Any]:
    """The part of the summary on the recommended checkpoint."""
    choice, best = run.summary.get("recommended"), run.summary.get("best_checkpoint")
    is_best = isinstance(choice, dict) and choice.get("checkpoint") == "best"
    return best if is_best and isinstance(best, dict) else run.summary


def _pooled(scores: Mapping[str, Any], name: str) -> float | None:
    value = scores.get(name)
    return number(value.get("pooled")) if isinstance(value, dict) else None


def _at(scores: Mapping[str, Any]) -> str:
    threshold = number(scores.get("score_threshold"))
    return f" with the calibrated score threshold {threshold:.2f}" if threshold is not None else ""


def _count(number: int, noun: str) -> str:
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun[:-2]}i" if noun.endswith("nucleus") else f"{number} {noun}s"


def _was(number: int) -> str:
    return "was" if number == 1 else "were"
