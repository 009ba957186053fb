"""What a training found, in words, and what to do next."""

import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nucleist.files import read_json_if_there
from nucleist.inference.load import checkpoint_of
from nucleist.progress import duration
from nucleist.training.finished import read_rows


def closing_words(run: Path) -> list[str]:
    """Lines about a finished run: what it learned from, what it found, the next command.

    Args:
        run: Its folder.
    """
    summary = read_json_if_there(run / "summary.json")
    if not summary:
        return []
    return [_trained(summary), *_found(run, summary), *_next(run)]


def _trained(summary: Mapping[str, Any]) -> str:
    nuclei, steps = summary.get("labelled_nuclei"), summary.get("steps")
    time = duration(float(summary.get("train_seconds") or 0))
    return f"trained on {nuclei} labelled nuclei: {steps} steps in {time}"


def _found(run: Path, summary: Mapping[str, Any]) -> list[str]:
    """What the test showed, or without one the validation, at the calibrated score threshold.

    Only what is known.
    """
    best = summary.get("best_checkpoint")
    recommended = best if isinstance(best, dict) and checkpoint_of(run).stem == "best" else summary
    test, apart = (recommended.get(part) or {} for part in ("test_calibrated", "validation"))
    scores, held = test or apart, 0 if test else summary.get("held_out_nuclei", 0)
    found = _share(scores, "labelled_recall_50") or _share(scores, "recall")
    parts = [f"it found {found} of the labelled nuclei"] if found else []
    if right := _share(scores, "precision"):
        parts.append(f"{right} of its outlines are labelled nuclei")
    images = len({row.get("image") for row in read_rows(run / "per_image.csv")})
    if not parts or not images:
        return []
    threshold = scores.get("score_threshold")
    at = f" (score threshold {threshold:.2f})" if isinstance(threshold, float) else ""
    pictures = run / "figures" / "test"
    shown = [f"see for yourself: {pictures}"] if pictures.is_dir() else []
    if held:
        where = f"{held} held-out nuclei" if held > 1 else "the held-out nucleus"
        return [f"of {where} it found {found}{at}", *shown]
    where = f"{images} {'test' if test else 'validation'} image{'' if images == 1 else 's'}"
    return [f"in {where} {', and '.join(parts)}{at}", *shown]


def _share(scores: Mapping[str, Any], name: str) -> str:
    """A score in per cent; empty if there is none."""
    value = scores.get(name)
    value = value.get("pooled") if isinstance(value, dict) else value
    if not isinstance(value, int | float) or not math.isfinite(value):
        return ""
    return f"{100 * value:.0f} %"


def _next(run: Path) -> list[str]:
    return [f"next: nucleist predict {shlex.quote(str(run))} new_images -o out"]
