"""What may be wrong with predicted label images as a whole: transposed, mirrored or shifted.

Such images are scored as they are, and the numbers are poor for a reason that has nothing to do
with the prediction. The foregrounds are compared: if the overlap is far better after a turn or a
shift, that is said.
"""

from collections import defaultdict

import numpy as np
from scipy import fft

GOOD = 0.8
"""Pixel IoU of the foregrounds from which nothing is looked for."""

GAIN = 0.3
"""How much a turn or shift has to raise it, to at least `ENOUGH`."""

ENOUGH = 0.6

MOST_SHARE = 0.9
"""Foregrounds that fill more of an image overlap however they lie: not looked at."""


class Suspicions:
    """Collects what is suspected of pairs of label images, and says it once for all."""

    def __init__(self) -> None:
        self._found: dict[str, list[tuple[str, float, float]]] = defaultdict(list)
        self._pairs = 0

    def look(self, where: str, labels: np.ndarray, guess: np.ndarray) -> None:
        """Compare a pair.

        Args:
            where: The predicted file.
            labels: `(H, W)`, true, 0 background.
            guess: `(H, W)`, predicted.
        """
        self._pairs += 1
        if found := suspicion(labels > 0, guess > 0):
            what, before, after = found
            self._found[what].append((where, before, after))

    def lines(self) -> list[str]:
        """One line for each suspicion; a shift counts if it is that of most label images."""
        return [
            f"{found[0][0]}: {what}? The pixel IoU with the truth is {found[0][1]:.2f}, and "
            f"{found[0][2]:.2f} if undone ({len(found)} of {self._pairs} label images); check how "
            "they were written"
            for what, found in self._found.items()
            if not what.startswith("shifted") or len(found) > self._pairs / 2
        ]


def suspicion(true: np.ndarray, guess: np.ndarray) -> tuple[str, float, float] | None:
    """How a predicted foreground may have been turned or shifted.

    Args:
        true: `(H, W)` `bool`.
        guess: `(H, W)` `bool`.

    Returns:
        What is suspected, the pixel IoU as it is and with that undone; None if nothing is.
    """
    if not true.any() or not guess.any() or true.mean() > MOST_SHARE:
        return None
    before = _iou(true, guess)
    if before >= GOOD:
        return None
    turned = {
        "turned upside down": guess[::-1],
        "mirrored": guess[:, ::-1],
        "turned by 180 degrees": guess[::-1, ::-1],
    }
    if true.shape[0] == true.shape[1]:
        turned["transposed (rows and columns exchanged)"] = guess.T
    down, right = _shift(true, guess)
    if down or right:
        turned[f"shifted by {down} rows and {right} columns"] = _moved(guess, -down, -right)
    best = max(turned, key=lambda what: _iou(true, turned[what]))
    after = _iou(true, turned[best])
    return (best, before, after) if after >= max(before + GAIN, ENOUGH) else None


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    return int(np.count_nonzero(one & other)) / max(int(np.count_nonzero(one | other)), 1)


def _shift(true: np.ndarray, guess: np.ndarray) -> tuple[int, int]:
    """Rows and columns by which a foreground lies off, where the two overlap most."""
    shape = [fft.next_fast_len(2 * n, real=True) for n in true.shape]
    product = fft.rfft2(guess.astype(np.float32), shape) * np.conj(
        fft.rfft2(true.astype(np.float32), shape)
    )
    overlap = fft.irfft2(product, shape)
    down, right = (int(n) for n in np.unravel_index(int(overlap.argmax()), overlap.shape))
    # What lies above or left comes after the middle, as a discrete transform is periodic.
    return (
        down - shape[0] if down > shape[0] // 2 else down,
        right - shape[1] if right > shape[1] // 2 else right,
    )


def _moved(mask: np.ndarray, down: int, right: int) -> np.ndarray:
    """A mask moved within its frame; what comes in is empty."""
    height, width = mask.shape
    moved = np.zeros_like(mask)
    rows = slice(max(down, 0), min(height + down, height))
    columns = slice(max(right, 0), min(width + right, width))
    from_rows = slice(max(-down, 0), min(height - down, height))
    from_columns = slice(max(-right, 0), min(width - right, width))
    moved[rows, columns] = mask[from_rows, from_columns]
    return moved
