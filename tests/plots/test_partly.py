"""Pictures of images in which nuclei are not labelled: what is known, and no more."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nucleist.plots import contours, overlay
from nucleist.plots.overlay import LabelledImage, overlay_panel, save_overlays
from nucleist.plots.partly import unjudged

HELD, AREA = contours.CONTOURS["held"], contours.CONTOURS["complete"]
NOWHERE = np.zeros((32, 32), bool)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The words that are written into pictures, which are drawn all the same."""
    words, write = [], overlay._write

    def kept(draw, at, text, *rest):
        words.append(text)
        write(draw, at, text, *rest)

    monkeypatch.setattr(overlay, "_write", kept)
    return words


def squares(*numbers: int) -> np.ndarray:
    """Nuclei of 6 x 6 pixels, four in a row, by their numbers from 1."""
    labels = np.zeros((32, 32), np.int32)
    for n in numbers:
        y, x = 1 + 8 * ((n - 1) // 4), 1 + 8 * ((n - 1) % 4)
        labels[y : y + 6, x : x + 6] = n
    return labels


IMAGE = np.zeros((32, 32), np.uint8)


def count(picture: np.ndarray, color: tuple[int, int, int]) -> int:
    return int((picture == color).all(-1).sum())


def test_no_truth_where_an_image_is_not_complete(written: list[str]) -> None:
    row = overlay_panel(
        IMAGE,
        kept=squares(1, 2),
        truth=squares(1, 2, 3),
        prediction=squares(1, 3, 5, 6, 7),
        title="training image a",
        side=32,
        held=squares(3),
        complete=NOWHERE,
    )
    assert written == [
        "training image a, not complete",
        "image",
        "2 labelled, 1 held out",
        "found: 5, 3 of them not judged",
    ]
    assert row.shape[1] == overlay.GAP + 3 * (32 + overlay.GAP)
    assert count(row, HELD) == 36 - 4  # two pixels thick: all but the inner 2 x 2
    assert count(row, AREA) == 0


def test_labels_of_a_test_image_that_is_not_complete(written: list[str]) -> None:
    overlay_panel(IMAGE, None, squares(1, 2), squares(1, 2), "b", 32, complete=NOWHERE)
    assert written == ["b, not complete", "image", "labelled: 2", "found: 2"]


def test_the_complete_area_is_outlined_and_judges(written: list[str]) -> None:
    area = NOWHERE.copy()
    area[:16] = True  # the nuclei 1 to 8 are inside
    row = overlay_panel(IMAGE, None, squares(1, 2), squares(1, 5, 9, 13), "c", 32, complete=area)
    assert written[0] == "c, complete only inside the green outline"
    assert written[-1] == "found: 4, 2 of them not judged"
    assert count(row, AREA) == 2 * (2 * 32 + 2 * 14)  # in both panels of labels


def test_labels_that_training_left_out_are_counted(written: list[str]) -> None:
    overlay_panel(IMAGE, squares(1), squares(1, 2, 3), side=32, held=squares(2), complete=NOWHERE)
    assert "1 labelled, 1 held out, 1 left out" in written


def test_complete_images_keep_their_panels(written: list[str]) -> None:
    given = IMAGE, squares(1), squares(1, 2, 3), squares(1, 9), "d", 32
    row = overlay_panel(*given)
    whole = overlay_panel(*given, complete=~NOWHERE)
    np.testing.assert_array_equal(row, whole)
    assert written[:5] == ["d", "image", "kept labels: 1 of 3", "ground truth: 3", "prediction: 2"]
    overlay_panel(*given, held=squares(2))
    assert "kept labels: 1 of 3, 1 held out" in written


def test_a_page_of_both_kinds_of_images(written: list[str], tmp_path: Path) -> None:
    rows = [
        LabelledImage(IMAGE, squares(1), squares(1), squares(1, 2), "a", complete=NOWHERE),
        LabelledImage(IMAGE, None, squares(1, 2), squares(1), "b"),
    ]
    save_overlays(tmp_path / "page.png", rows, side=32)
    with Image.open(tmp_path / "page.png") as page:
        assert page.width == overlay.GAP + 4 * (32 + overlay.GAP)
    assert "ground truth: not known" in written and "ground truth: 2" in written
    assert written.count("ground truth: 1") == 0


def test_a_detection_is_judged_on_any_labelled_nucleus() -> None:
    maps = [squares(1), squares(1, 2), squares(3)]
    assert unjudged(maps, squares(1, 2, 3, 4), NOWHERE) == 1
    assert unjudged([], squares(1, 2), NOWHERE) == 2
