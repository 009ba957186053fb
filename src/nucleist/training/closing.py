"""What a training found, in words, and what to do next."""

import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nucleist.files import read_json_if_there
from nucleist.inference.load import checkpoint_of
from nucleist.progress import duration
from nucleist.training.finished import number, read_rows

FEW = 0.025
"""A standard error from which it is said how well a share is known."""

NO_TEST = (
    "no test images, so nothing was measured on images that the training did not use; put some "
    "into a folder called test/, or set data.source.test_fraction=0.4"
)


def closing_words(run: Path) -> list[str]:
    """Lines about a finished run: what it learned from, what it found, the next command.

    Args:
        run: Its folder.
    """
    summary = read_json_if_there(run / "summary.json")
    if not summary:
        return []
    best = summary.get("best_checkpoint")
    chosen = best if isinstance(best, dict) and checkpoint_of(run).stem == "best" else summary
    return [
        _trained(summary),
        *_recommended(summary, chosen),
        *_validated(run, summary, chosen),
        *_tested(run, summary, chosen),
        f"next: nucleist predict {shlex.quote(str(run))} new_images -o out",
    ]


def _trained(summary: Mapping[str, Any]) -> str:
    nuclei, steps = summary.get("labelled_nuclei"), summary.get("steps")
    time = duration(float(summary.get("train_seconds") or 0))
    return f"trained on {nuclei} labelled nuclei: {steps} steps in {time}"


def _recommended(summary: Mapping[str, Any], chosen: Mapping[str, Any]) -> list[str]:
    """Which checkpoint is used from now on, where it is not the last."""
    if chosen is summary:
        return []
    why = (summary.get("recommended") or {}).get("why")
    because = f": {why}" if why else ""
    return [f"predict takes best.ckpt of step {chosen.get('step')}, not last.ckpt{because}"]


def _validated(run: Path, summary: Mapping[str, Any], chosen: Mapping[str, Any]) -> list[str]:
    """What the validation apart from the test showed, at the calibrated score threshold."""
    scores = chosen.get("validation") or {}
    if held := summary.get("held_out_nuclei"):
        return _sentence("", scores, counted_nuclei(held, "held-out"), held)
    images, whole = ("", 0) if _is_tested(summary) else _in_rows(run, "validation")
    nuclei = scores.get("labelled_nuclei", whole)
    where = f"in {images or 'the validation images'} "
    return _sentence(where, scores, counted_nuclei(nuclei, "labelled"), nuclei, whole)


def _tested(run: Path, summary: Mapping[str, Any], chosen: Mapping[str, Any]) -> list[str]:
    """What the test showed, at the calibrated score threshold, or that there was none."""
    if not _is_tested(summary):
        return [NO_TEST]
    scores = chosen.get("test_calibrated") or {}
    images, whole = _in_rows(run, "test")
    nuclei = scores.get("labelled_nuclei", whole)
    found = _sentence(f"in {images} ", scores, counted_nuclei(nuclei, "labelled"), nuclei, whole)
    pictures = run / "figures" / "test"
    shown = [f"see for yourself: {pictures}"] if pictures.is_dir() else []
    return [*found, *shown] if images and found else []


def _is_tested(summary: Mapping[str, Any]) -> bool:
    return "test" in summary or "test_calibrated" in summary


def _in_rows(run: Path, kind: str) -> tuple[str, int]:
    """Images of `per_image.csv` in words, and the nuclei in their complete areas."""
    rows = {row.get("image"): row for row in read_rows(run / "per_image.csv")}
    images = f"{len(rows)} {kind} image{'' if len(rows) == 1 else 's'}" if rows else ""
    return images, round(sum(number(row.get("nuclei")) or 0 for row in rows.values()))


def _sentence(
    where: str, scores: Mapping[str, Any], nuclei: str, count: int, whole: int = 0
) -> list[str]:
    """`in 2 test images it found 88 % of the 16 labelled nuclei (...)`; only what is known."""
    partial = "labelled_nuclei" in scores
    share = _share(scores, "labelled_recall_50") if partial else _share(scores, "recall")
    parts = [f"it found {_percent(share)} of the {nuclei}"] if share is not None else []
    if (right := _share(scores, "precision")) is not None:
        there = f", with {counted_nuclei(whole, 'labelled')}, " if whole else " "
        area = f"in the complete {_percent(scores.get('complete_area', 0))} of the area{there}"
        parts.append(f"{area if partial else ''}{_percent(right)} of its outlines are nuclei")
    if not parts:
        return []
    at = ["with an overlap of at least half"]
    threshold = scores.get("score_threshold")
    at += [f"score threshold {threshold:.2f}"] if isinstance(threshold, float) else []
    known = "" if share is None else _known_to(share, count)
    return [f"{where}{', and '.join(parts)} ({', '.join(at)}){known}"]


def _known_to(share: float, count: int) -> str:
    """How well a share of so many nuclei is known: its standard error, where it is large."""
    if count < 1:
        return ""
    # As if at least half a nucleus were found and missed: all of a few is no certainty.
    likely = min(max(share, 0.5 / count), 1 - 0.5 / count)
    error = math.sqrt(likely * (1 - likely) / count)
    if error < FEW:
        return ""
    return f"; with so few nuclei that is known to about {100 * error:.0f} points"


def counted_nuclei(count: int, kind: str) -> str:
    """`16 held-out nuclei`; without the number if it is 0, that is, not known.

    Args:
        count: Number of nuclei.
        kind: `held-out` or `labelled`.
    """
    return f"{f'{count} ' if count else ''}{kind} {'nucleus' if count == 1 else 'nuclei'}"


def _share(scores: Mapping[str, Any], name: str) -> float | None:
    """A score in [0, 1]; None if there is none."""
    value = scores.get(name)
    value = value.get("pooled") if isinstance(value, dict) else value
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def _percent(share: float) -> str:
    """In per cent, and never 0 % or 100 % of what is a little more or less."""
    digits = 0 if share in (0, 1) or 0.005 <= share < 0.995 else 1
    return f"{100 * share:.{digits}f} %"
