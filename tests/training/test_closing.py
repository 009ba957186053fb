"""What a training says at its end: only what is known, and the next command."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from nucleist.training.closing import NO_TEST, closing_words


def run_folder(folder: Path, **summary: Any) -> Path:
    """A finished run with these parts of a summary, tested or validated on two images."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "last.ckpt").touch()
    about = {"labelled_nuclei": 80, "steps": 600, "train_seconds": 433.0}
    (folder / "summary.json").write_text(json.dumps({**about, **summary}))
    rows = "image,score_threshold,nuclei\na,0.5,30\nb,0.5,10\na,0.62,30\n"
    (folder / "per_image.csv").write_text(rows)
    return folder


def at(threshold: float = 0.62, **scores: float) -> dict[str, Any]:
    """Scores at a threshold; those of a mean over images are not the pooled ones."""
    single = ("labelled_nuclei", "complete_area")
    means = {n: {"pooled": v, "per_image": 0.123} for n, v in scores.items() if n not in single}
    return {"score_threshold": threshold, **means, **{n: scores[n] for n in single if n in scores}}


def test_what_was_found(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "my runs", test_calibrated=at(recall=0.561, precision=0.84))
    lines = closing_words(run)
    assert lines == [
        "trained on 80 labelled nuclei: 600 steps in 7 min",
        "in 2 test images it found 56 % of the 40 labelled nuclei, and 84 % of its outlines are "
        "nuclei (with an overlap of at least half, score threshold 0.62); with so few nuclei that "
        "is known to about 8 points",
        f"next: nucleist predict {shlex.quote(str(run))} new_images -o out",
    ]
    (run / "figures" / "test").mkdir(parents=True)
    assert closing_words(run)[2] == f"see for yourself: {run}/figures/test"


@pytest.mark.parametrize("scores", [at(), at(recall=float("nan")), {"map": 0.3}])
def test_a_number_that_is_not_known_is_not_said(tmp_path: Path, scores: dict[str, Any]) -> None:
    lines = closing_words(run_folder(tmp_path / "run", test_calibrated=scores))
    assert len(lines) == 2 and "%" not in "".join(lines)


def test_held_out_nuclei_come_first_and_then_the_test(tmp_path: Path) -> None:
    """Nothing about false detections, where nobody knows which are false."""
    scores = {"labelled_recall": 0.3, "labelled_recall_50": 0.5, "complete_area": 0}
    run = run_folder(
        tmp_path / "run",
        held_out_nuclei=16,
        validation=at(0.44, **{**scores, "labelled_recall_50": 0.875}, labelled_nuclei=16),
        test_calibrated=at(0.44, **scores, labelled_nuclei=20),
    )
    _, held, tested, _ = closing_words(run)
    about = "(with an overlap of at least half, score threshold 0.44); with so few nuclei that is"
    assert held == (f"it found 88 % of the 16 held-out nuclei {about} known to about 8 points")
    assert tested == (
        f"in 2 test images it found 50 % of the 20 labelled nuclei {about} known to about 11 points"
    )


def test_precision_only_with_the_area_it_stands_on(tmp_path: Path) -> None:
    scores = at(labelled_recall_50=0.5, recall=0.9, precision=0.75, complete_area=0.125)
    run = run_folder(tmp_path / "run", test_calibrated={**scores, "labelled_nuclei": 900})
    assert closing_words(run)[1] == (
        "in 2 test images it found 50 % of the 900 labelled nuclei, and in the complete 12 % of "
        "the area, with 40 labelled nuclei, 75 % of its outlines are nuclei (with an overlap of "
        "at least half, score threshold 0.62)"
    )


@pytest.mark.parametrize(
    ("held", "scores", "words"),
    [
        (2, {"labelled_recall_50": 0.5, "labelled_nuclei": 2}, "it found 50 % of the 2 held-out n"),
        (1, {"labelled_recall_50": 0.0, "labelled_nuclei": 1}, "it found 0 % of the 1 held-out nu"),
        (
            0,
            {"labelled_recall_50": 0.5, "labelled_nuclei": 7},
            "in 2 validation images it found 50 % of the 7 labelled nuclei (",
        ),
        (
            0,
            {"recall": 0.5, "precision": 0.25},
            "in 2 validation images it found 50 % of the 40 labelled nuclei, and 25 % of its out",
        ),
    ],
)
def test_without_test_images_the_validation_and_how_to_get_some(
    held: int, scores: dict[str, float], words: str, tmp_path: Path
) -> None:
    about = {"held_out_nuclei": held} if held else {}
    run = run_folder(tmp_path / "run", validation=at(**scores), **about)
    _, found, test, _ = closing_words(run)
    assert found.startswith(words) and "points" in found
    assert test == NO_TEST and "test/" in test and "data.source.test_fraction" in test


def test_validation_images_beside_test_images(tmp_path: Path) -> None:
    """`per_image.csv` is of the test, so nothing is known of how many validated."""
    run = run_folder(
        tmp_path / "run", validation=at(recall=0.5), test_calibrated=at(recall=0.4, precision=0.5)
    )
    _, validated, tested, _ = closing_words(run)
    assert validated.startswith("in the validation images it found 50 % of the labelled nuclei (")
    assert "points" not in validated and tested.startswith("in 2 test images it found 40 % of the")


def test_of_a_best_checkpoint_its_own_numbers(tmp_path: Path) -> None:
    last, best = (at(labelled_recall_50=r, labelled_nuclei=16) for r in (0.5, 0.75))
    why = "better at the held-out nuclei by more than chance"
    run = run_folder(
        tmp_path / "run",
        held_out_nuclei=16,
        validation=last,
        best_checkpoint={"step": 500, "validation": best},
        recommended={"checkpoint": "best", "why": why},
    )
    (run / "checkpoints" / "best.ckpt").touch()
    _, used, found, *_ = closing_words(run)
    assert used == f"predict takes best.ckpt of step 500, not last.ckpt: {why}"
    assert found.startswith("it found 75 % of the 16 held-out nuclei")


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_all_of_a_few_is_no_certainty(share: float, tmp_path: Path) -> None:
    scores = at(labelled_recall_50=share, labelled_nuclei=4)
    run = run_folder(tmp_path / "run", held_out_nuclei=4, validation=scores)
    assert "known to about 17 points" in closing_words(run)[1]


def test_of_many_nuclei_nothing_is_said_of_chance(tmp_path: Path) -> None:
    scores = at(labelled_recall_50=0.9996, labelled_nuclei=2500)
    run = run_folder(tmp_path / "run", test_calibrated=scores)
    assert "100.0 %" in closing_words(run)[1] and "points" not in closing_words(run)[1]


def test_a_run_without_a_summary(tmp_path: Path) -> None:
    assert closing_words(tmp_path) == []
