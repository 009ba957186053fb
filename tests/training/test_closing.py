"""What a training says at its end: only what is known, and the next command."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from nucleist.training.closing import closing_words


def run_folder(folder: Path, **scores: Any) -> Path:
    """A finished run with these test scores."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "last.ckpt").touch()
    summary = {
        "labelled_nuclei": 80,
        "steps": 600,
        "train_seconds": 433.0,
        "test_calibrated": {"score_threshold": 0.62, **scores},
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "per_image.csv").write_text("image,score_threshold\na,0.5\nb,0.5\na,0.62\n")
    return folder


def test_what_was_found(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "my runs", recall={"pooled": 0.561}, precision={"pooled": 0.84})
    lines = closing_words(run)
    assert lines == [
        "trained on 80 labelled nuclei: 600 steps in 7 min",
        "in 2 test images it found 56 % of the labelled nuclei, and 84 % of its outlines are "
        "labelled nuclei (score threshold 0.62)",
        f"next: nucleist predict {shlex.quote(str(run))} new_images -o out",
    ]
    (run / "figures" / "test").mkdir(parents=True)
    assert closing_words(run)[2] == f"see for yourself: {run}/figures/test"


@pytest.mark.parametrize("scores", [{}, {"recall": {"pooled": float("nan")}}, {"map": 0.3}])
def test_a_number_that_is_not_known_is_not_said(tmp_path: Path, scores: dict[str, Any]) -> None:
    lines = closing_words(run_folder(tmp_path / "run", **scores))
    assert len(lines) == 2 and "%" not in "".join(lines)


def test_with_partial_labels_only_what_the_labelled_nuclei_say(tmp_path: Path) -> None:
    recalls = {"labelled_recall": {"pooled": 0.3}, "labelled_recall_50": {"pooled": 0.5}}
    lines = closing_words(run_folder(tmp_path / "run", **recalls))
    assert "it found 50 % of the labelled nuclei (score" in lines[1]


@pytest.mark.parametrize(
    ("held", "scores", "words"),
    [
        (2, {"labelled_recall_50": {"pooled": 0.5}}, "of 2 held-out nuclei it found 50 % (score"),
        (1, {"labelled_recall_50": {"pooled": 0.0}}, "of the held-out nucleus it found 0 % ("),
        (0, {"labelled_recall_50": {"pooled": 0.5}}, "in 2 validation images it found 50 % of the"),
        (0, {"recall": {"pooled": 0.5}, "precision": {"pooled": 0.25}}, "50 % of the labelled nuc"),
    ],
)
def test_without_test_images_the_validation(
    held: int, scores: dict[str, Any], words: str, tmp_path: Path
) -> None:
    run = run_folder(tmp_path / "run")
    summary = json.loads((run / "summary.json").read_text())
    del summary["test_calibrated"]
    summary |= {"validation": {"score_threshold": 0.62, **scores}}
    summary |= {"held_out_nuclei": held} if held else {}
    (run / "summary.json").write_text(json.dumps(summary))
    _, found, _ = closing_words(run)
    assert words in found and found.endswith("(score threshold 0.62)")


def test_a_run_without_a_summary(tmp_path: Path) -> None:
    assert closing_words(tmp_path) == []
