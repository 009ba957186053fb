"""An image of any size as small pictures: levels of half the size each, windows of intensity."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict

import numpy as np
from PIL import Image

from nucleist.annotation.session import Session
from nucleist.types import UserError

SIDE = 512
"""Of a tile, pixels."""

_LOW, _HIGH = 0.1, 99.8
_SAMPLE = 1_000_000
"""Values from which the first window is measured, about."""


class Tiles:
    """The tiles of a session's images.

    Args:
        session: Whose images.
    """

    def __init__(self, session: Session):
        self._session, self._lock = session, threading.Lock()
        self._levels: OrderedDict[int, list[np.ndarray]] = OrderedDict()

    def about(self, index: int) -> dict[str, object]:
        """What the page needs: side of a tile, levels, window, and the top of the sliders."""
        levels = self._of(index)
        image = levels[0]
        step = max(1, int((image.size / _SAMPLE) ** 0.5))
        values = image[::step, ::step].astype(np.float64)
        low, high = np.percentile(values[np.isfinite(values)], (_LOW, _HIGH))
        if image.dtype == np.uint8 and high >= 128:
            low, high = 0.0, 255.0  # bright pictures are shown as they are
        whole = float(np.iinfo(image.dtype).max) if image.dtype.kind == "u" else float(values.max())
        gray = bool((values == values[..., :1]).all())
        high = max(float(high), float(low) + 1e-6)
        ends = {"low": float(low), "high": high, "top": min(max(whole, 1e-6), 4 * high)}
        return {"side": SIDE, "levels": len(levels), "gray": gray, **ends}

    def tile(
        self,
        index: int,
        level: int,
        row: int,
        column: int,
        low: float,
        high: float,
        channel: int | None = None,
    ) -> bytes:
        """One tile as PNG.

        Args:
            index: Number of the image.
            level: 0 is the image itself, each further one half as large.
            row: Of the tile, from 0.
            column: Likewise.
            low: Intensity that is black, as stored.
            high: Intensity that is white, as stored.
            channel: 0, 1 or 2 for one colour alone in gray; None for all.

        Raises:
            UserError: If there is no such tile.
        """
        levels = self._of(index)
        if not 0 <= level < len(levels):
            raise UserError(f"there is no level {level}")
        image = levels[level]
        part = image[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE]
        if not part.size or row < 0 or column < 0:
            raise UserError(f"there is no tile {row}, {column}")
        if channel is not None:
            part = part[..., channel]
        scaled = (part.astype(np.float32) - low) * (255 / max(high - low, 1e-6))
        shown = np.clip(np.nan_to_num(scaled), 0, 255).astype(np.uint8)
        if shown.ndim == 3 and (shown == shown[..., :1]).all():
            shown = shown[..., 0]
        room = [(0, SIDE - side) for side in shown.shape[:2]]  # the page stretches smaller tiles
        shown = np.pad(shown, [*room, *[(0, 0)] * (shown.ndim - 2)])
        file = io.BytesIO()
        Image.fromarray(shown).save(file, "PNG", compress_level=1)
        return file.getvalue()

    def _of(self, index: int) -> list[np.ndarray]:
        with self._lock:
            if index not in self._levels:
                self._levels[index] = _halved(self._session.image(index))
                while len(self._levels) > 3:
                    self._levels.popitem(last=False)
            self._levels.move_to_end(index)
            return self._levels[index]


def _halved(image: np.ndarray) -> list[np.ndarray]:
    """The image, then each level the means of 2 x 2 pixels of the one before."""
    levels = [image]
    while max(levels[-1].shape[:2]) > SIDE:
        last = levels[-1]
        height, width = (max(side // 2, 1) for side in last.shape[:2])
        kind = np.uint32 if last.dtype.kind == "u" else np.float32
        sums = np.zeros((height, width, 3), kind)
        for y in (0, 1):
            for x in (0, 1):
                rows = np.minimum(np.arange(height) * 2 + y, last.shape[0] - 1)
                columns = np.minimum(np.arange(width) * 2 + x, last.shape[1] - 1)
                sums += last[rows][:, columns]
        levels.append((sums / 4).astype(last.dtype))
    return levels
