"""Pictures of nuclei: thin contours over the image, as in Fig. 3 of the PA paper (IEEE 2019).

Images are scaled to the size of the page before contours are drawn, so that contours are as thin
on a small image as on a large one. Contours are drawn inside each nucleus; where two nuclei touch,
both contours are visible.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from nucleist.files import replacing
from nucleist.plots.contours import CONTOURS, Color, colors_of, draw_contours, to_display
from nucleist.plots.partly import counted_words, is_partial, labelled_words, unjudged, where_words

Size = tuple[int, int]
Labels = np.ndarray | Tensor
PathLike = str | os.PathLike[str]

PANELS = {"kept": "kept labels", "truth": "ground truth", "prediction": "prediction"}
PAGE, INK, PALE_INK = (255, 255, 255), (25, 25, 25), (110, 110, 110)
GRAY_ON_DARK, GRAY_ON_BRIGHT = (165, 165, 165), (80, 80, 80)
GAP, LINE = 10, 22  # pixels between panels; height of a line of text


@dataclass(frozen=True)
class LabelledImage:
    """One image and the label maps that are drawn over it; those that are `None` are left out.

    Attributes:
        image: `(H, W)` or `(H, W, C)`, anything that `to_display` accepts.
        kept: `(H, W)` integer label map of the labels used in training.
        truth: `(H, W)` integer label map of all nuclei.
        prediction: `(H, W)` integer label map of the detections that count.
        title: Line above a row of panels, or below a thumbnail, such as the id of the image.
        held: `(H, W)` integer label map of labels that were held out of the training.
        complete: `(H, W)` `bool`, where every nucleus is labelled; None: everywhere. Elsewhere
            labels are no ground truth and detections on none of them are not judged, so there is
            no panel of a truth, and captions say what is known.
    """

    image: np.ndarray
    kept: Labels | None = None
    truth: Labels | None = None
    prediction: Labels | None = None
    title: str = ""
    held: Labels | None = None
    complete: np.ndarray | None = None

    @property
    def is_partial(self) -> bool:
        """Whether nuclei without a label may be in it."""
        return is_partial(self.complete)

    def has(self, name: str) -> bool:
        """Whether there is anything for a panel, a key of `PANELS`."""
        if self.is_partial and name != "prediction":
            given = self.kept, self.held, self.truth
            return name == "kept" and any(labels is not None for labels in given)
        return getattr(self, name) is not None


def overlay_panel(
    image: np.ndarray,
    kept: Labels | None = None,
    truth: Labels | None = None,
    prediction: Labels | None = None,
    title: str = "",
    side: int = 512,
    *,
    held: Labels | None = None,
    complete: np.ndarray | None = None,
) -> np.ndarray:
    """One row of captioned panels: image, kept labels, ground truth, prediction.

    Args:
        image: As in `LabelledImage`, like the next four.
        kept: Filled and outlined in colours; the other nuclei of `truth` have thin gray contours.
        truth: Outlined in one colour.
        prediction: Outlined in another colour.
        title: Line above the row.
        side: Largest length of a panel's longer side in pixels; small images are enlarged by a
            whole factor.
        held: As in `LabelledImage`; outlined in a colour of their own.
        complete: As in `LabelledImage`; outlined if it is a part of the image.

    Returns:
        `(rows, columns, 3)` `uint8`.
    """
    row = LabelledImage(image, kept, truth, prediction, title, held, complete)
    return np.asarray(_draw_page([row], side))


def save_overlays(path: PathLike, rows: Sequence[LabelledImage], side: int = 512) -> None:
    """Write a PNG page of several `overlay_panel` rows with their columns aligned.

    There is a column if any row has it; rows without it have an empty panel.

    Raises:
        UserError: If the file cannot be written.
        ValueError: If there are no rows, or labels and image differ in shape.
    """
    if not rows:
        raise ValueError("Expected at least one row of overlays, but got none")
    _save(path, _draw_page(rows, side))


def contact_sheet(
    path: PathLike, items: Sequence[LabelledImage], columns: int = 5, side: int = 240
) -> None:
    """Write a PNG page of thumbnails with names and counts: kept labels in colour, rest gray.

    The nuclei are those of `truth`; without `kept`, all of them are in colour.

    Args:
        path: PNG to write.
        items: In the order of reading.
        columns: Thumbnails in a row.
        side: Largest length of the longer side of a thumbnail in pixels.

    Raises:
        UserError: If the file cannot be written.
        ValueError: If there are no items or no columns.
    """
    if not items or columns < 1:
        raise ValueError(f"Expected items and columns, but got {len(items)} and {columns}")
    columns = min(columns, len(items))
    width, height = side + GAP, side + 2 * LINE + GAP
    size = columns * width + GAP, -(-len(items) // columns) * height + GAP
    page = Image.new("RGB", size, PAGE)
    draw = ImageDraw.Draw(page)
    for i, item in enumerate(items):
        left, top = GAP + i % columns * width, GAP + i // columns * height
        labels = _labels(item.kept if item.truth is None else item.truth, item.image)
        kept = labels if item.kept is None else _labels(item.kept, item.image)
        picture = Image.fromarray(_kept_panel(_fit(to_display(item.image), side), kept, labels))
        page.paste(picture, (left + (side - picture.width) // 2, top + side - picture.height))
        counts = f"{_count(labels)} {'labelled' if item.is_partial else 'nuclei'}"
        if item.kept is not None:
            counts += f", {_count(kept)} kept"
        _write(draw, (left + side // 2, top + side + 3), item.title, INK, side, "ma")
        _write(draw, (left + side // 2, top + side + 3 + LINE), counts, PALE_INK, side, "ma")
    _save(path, page)


class Fitted(NamedTuple):
    """An image at the size of the page, and the width of contours on it in pixels."""

    pixels: np.ndarray
    thick: int


def _draw_page(rows: Sequence[LabelledImage], side: int) -> Image.Image:
    given = [name for name in PANELS if any(row.has(name) for row in rows)]
    table = []
    for row in rows:
        fitted = _fit(to_display(row.image), side)
        table.append([(fitted.pixels, "image"), *(_panel(row, name, fitted) for name in given)])
    step = GAP + max(panels[0][0].shape[1] for panels in table)
    heads = [GAP + (2 if row.title or row.is_partial else 1) * LINE for row in rows]
    height = GAP + sum(heads) + sum(panels[0][0].shape[0] for panels in table)
    page = Image.new("RGB", (GAP + len(table[0]) * step, height), PAGE)
    draw, top = ImageDraw.Draw(page), 0
    for row, panels, head in zip(rows, table, heads, strict=True):
        title = ", ".join(filter(None, (row.title, where_words(row.complete))))
        _write(draw, (GAP, top + GAP), title, INK, page.width - 2 * GAP)
        top += head
        for i, (pixels, caption) in enumerate(panels):
            _write(draw, (GAP + i * step, top - LINE), caption, PALE_INK, step - GAP)
            page.paste(Image.fromarray(pixels), (GAP + i * step, top))
        top += panels[0][0].shape[0]
    return page


def _panel(row: LabelledImage, name: str, fitted: Fitted) -> tuple[np.ndarray, str]:
    """One panel of labels and its caption."""
    caption = PANELS[name]
    if not row.has(name):
        unknown = "not known" if row.is_partial and name == "truth" else "none"
        return np.full_like(fitted.pixels, 235), f"{caption}: {unknown}"
    if name == "kept":
        return _with_area(row, _labelled_panel(row, fitted), fitted), _labelled_caption(row)
    labels = _labels(getattr(row, name), row.image)
    caption = f"{caption}: {_count(labels)}"
    if row.is_partial:  # the prediction
        caption = counted_words(_count(labels), unjudged(_known(row), labels, row.complete))
    here = _fit_labels(labels, fitted.pixels)
    drawn = draw_contours(fitted.pixels, here, CONTOURS[name], fitted.thick)
    return _with_area(row, drawn, fitted), caption


def _known(row: LabelledImage) -> list[np.ndarray]:
    """All label maps of a row; a nucleus may be in several."""
    given = row.truth, row.kept, row.held
    return [_labels(labels, row.image) for labels in given if labels is not None]


def _labelled_panel(row: LabelledImage, fitted: Fitted) -> np.ndarray:
    """Kept labels filled, held-out ones outlined in their colour, the others thin and gray."""
    kept, held = _labels(row.kept, row.image), _labels(row.held, row.image)
    truth = kept if row.truth is None else _labels(row.truth, row.image)
    if row.kept is None and row.is_partial:
        kept = np.where(held > 0, 0, truth)
    picture = _kept_panel(fitted, kept, np.where(held > 0, 0, truth))
    return draw_contours(
        picture, _fit_labels(held, fitted.pixels), CONTOURS["held"], 2 * fitted.thick
    )


def _labelled_caption(row: LabelledImage) -> str:
    held = 0 if row.held is None else _count(_labels(row.held, row.image))
    if row.is_partial:
        every = max(map(_count, _known(row)))
        kept = every - held if row.kept is None else _count(_labels(row.kept, row.image))
        return labelled_words(
            kept, held, max(every - kept - held, 0) if row.truth is not None else 0
        )
    caption = f"{PANELS['kept']}: {_count(_labels(row.kept, row.image))}"
    if row.truth is not None:
        caption += f" of {_count(_labels(row.truth, row.image))}"
    return f"{caption}, {held} held out" if held else caption


def _with_area(row: LabelledImage, picture: np.ndarray, fitted: Fitted) -> np.ndarray:
    """With the thin outline of the complete area, if it is a part of the image."""
    if row.complete is None or row.complete.all() or not row.complete.any():
        return picture
    area = _fit_labels(row.complete.astype(np.int32), fitted.pixels)
    return draw_contours(picture, area, CONTOURS["complete"])


def _kept_panel(fitted: Fitted, kept: np.ndarray, labels: np.ndarray) -> np.ndarray:
    rest = _fit_labels(np.where(kept > 0, 0, labels), fitted.pixels)
    kept = _fit_labels(kept, fitted.pixels)
    gray = GRAY_ON_BRIGHT if fitted.pixels.mean() > 128 else GRAY_ON_DARK
    picture = draw_contours(fitted.pixels, rest, gray)
    inside = kept > 0
    tint = 0.65 * picture[inside] + 0.35 * colors_of(kept[inside])
    picture[inside] = np.round(tint).astype(np.uint8)
    return draw_contours(picture, kept, None, fitted.thick)


def _fit(display: np.ndarray, side: int) -> Fitted:
    height, width = display.shape[:2]
    factor = side // max(height, width)
    if factor >= 1:  # whole pixels stay sharp
        grown = display.repeat(factor, axis=0).repeat(factor, axis=1)
        return Fitted(grown, 1 if factor < 4 else 2)
    scale = side / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    small = Image.fromarray(display).resize(size, Image.Resampling.LANCZOS)
    return Fitted(np.asarray(small), 1)


def _fit_labels(labels: np.ndarray, display: np.ndarray) -> np.ndarray:
    """Labels at the centres of the pixels of a scaled image."""
    (height, width), (rows, columns) = labels.shape, display.shape[:2]
    y = ((np.arange(rows) + 0.5) * height / rows).astype(int)
    x = ((np.arange(columns) + 0.5) * width / columns).astype(int)
    return labels[y[:, None], x]


def _labels(labels: Labels | None, image: np.ndarray) -> np.ndarray:
    if labels is None:
        return np.zeros(image.shape[:2], np.int32)
    array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if array.shape != image.shape[:2]:
        raise ValueError(f"Expected labels of shape {image.shape[:2]}, but got {array.shape}")
    return array


def _count(labels: np.ndarray) -> int:
    return len(np.unique(labels[labels > 0]))


def _write(
    draw: ImageDraw.ImageDraw, at: Size, text: str, color: Color, width: int, anchor: str = "la"
) -> None:
    """Write one line, shortened in the middle if it is wider than `width` pixels."""
    font = ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), 14)
    shown, keep = text, len(text)
    while keep > 2 and draw.textlength(shown, font) > width:
        keep -= 1
        shown = f"{text[: (keep + 1) // 2]}\N{HORIZONTAL ELLIPSIS}{text[-(keep // 2) :]}"
    draw.text(at, shown, color, font, anchor)


def _save(path: PathLike, page: Image.Image) -> None:
    with replacing(path) as part:
        page.save(part, format="PNG")
