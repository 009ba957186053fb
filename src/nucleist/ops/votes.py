"""One outlining from several of the same image: detections that agree become one, by votes.

The several may be a net's on the eight symmetries of an image (`nucleist.inference.symmetries`).
A nucleus that most of them show, with much the same pixels, is rarely wrong.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.ndimage import find_objects

from nucleist.ops.contingency import contingency


class Votes(NamedTuple):
    """The nuclei that several label maps agree on, highest score first.

    Attributes:
        labels: `(H, W)` `int32`, 1..N; where two overlap the higher score has the pixel.
        scores: `(N,)` `float32`, mean over all maps, 0 where one lacks the nucleus.
        boxes: `(N, 4)` `float32` xyxy, mean of the members' boxes.
        votes: `(N,)` `int64`, in how many maps it is.
        agreement: `(N,)` `float32` in (0, 1], mean IoU of the members with the pixels that more
            than half of them have.
    """

    labels: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray
    votes: np.ndarray
    agreement: np.ndarray


class Member(NamedTuple):
    """A detection: the number of its map, and its own there, from 0."""

    map: int
    number: int


def vote(
    maps: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    boxes: Sequence[np.ndarray],
    min_iou: float = 0.5,
) -> Votes:
    """Merge detections of several label maps of one image.

    The detection with the highest score takes, of every other map, the free one with the largest
    IoU above `min_iou`; then the next one that is free, and so on. A group's pixels are those that
    more than half of its members have.

    Args:
        maps: `(H, W)` integer label maps, in which detection `i` has the value `i + 1`.
        scores: `(N,)` of each map, in [0, 1].
        boxes: `(N, 4)` of each map, xyxy in pixels.
        min_iou: IoU above which two detections are one nucleus, at least 0.5, so that no two of a
            map can be the same.
    """
    pieces = [
        find_objects(labels, max_label=len(s)) for labels, s in zip(maps, scores, strict=True)
    ]
    groups = _groups(maps, scores, min_iou, pieces)
    every = (_consensus(group, maps, scores, boxes, pieces) for group in groups)
    rows = [row for row in every if row is not None]
    order = np.argsort([-row.score for row in rows], kind="stable")
    return _painted([rows[i] for i in order], np.shape(maps[0]))


class _Row(NamedTuple):
    window: tuple[slice, slice]
    mask: np.ndarray
    score: float
    box: np.ndarray
    votes: int
    agreement: float


def _groups(
    maps: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    min_iou: float,
    pieces: Sequence[Sequence[tuple[slice, slice] | None]],
) -> list[list[Member]]:
    best = _best_partners(maps, min_iou)
    members = [
        Member(k, i) for k, own in enumerate(scores) for i in range(len(own)) if pieces[k][i]
    ]
    members.sort(key=lambda m: -float(scores[m.map][m.number]))
    free, groups = set(members), []
    for first in members:
        if first not in free:
            continue
        others = [best.get((first, k)) for k in range(len(maps)) if k != first.map]
        group = [first, *(m for m in others if m in free)]
        free -= set(group)
        groups.append(group)  # type: ignore[arg-type]
    return groups


def _best_partners(maps: Sequence[np.ndarray], min_iou: float) -> dict[tuple[Member, int], Member]:
    """Of each detection and other map the detection there with an IoU above the least.

    Above a half there is at most one.
    """
    found = {}
    for a in range(len(maps)):
        for b in range(a + 1, len(maps)):
            table = contingency(maps[a], maps[b])
            hit = table.iou > min_iou
            ones = table.true_ids[table.true_index[hit]] - 1
            others = table.pred_ids[table.pred_index[hit]] - 1
            for i, j in zip(ones.tolist(), others.tolist(), strict=True):
                found[Member(a, i), b] = Member(b, j)
                found[Member(b, j), a] = Member(a, i)
    return found


def _consensus(
    group: Sequence[Member],
    maps: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    boxes: Sequence[np.ndarray],
    pieces: Sequence[Sequence[tuple[slice, slice] | None]],
) -> _Row | None:
    """What a group agrees on; None if no pixel is in more than half of it."""
    windows = [w for m in group if (w := pieces[m.map][m.number]) is not None]
    rows, cols = (
        slice(min(w[axis].start for w in windows), max(w[axis].stop for w in windows))
        for axis in (0, 1)
    )
    masks = np.stack([maps[m.map][rows, cols] == m.number + 1 for m in group])
    mask = 2 * masks.sum(0) > len(group)
    if not mask.any():
        return None
    union = (masks | mask).sum((1, 2))
    return _Row(
        (rows, cols),
        mask,
        sum(float(scores[m.map][m.number]) for m in group) / len(maps),
        np.mean([boxes[m.map][m.number] for m in group], axis=0),
        len(group),
        float(((masks & mask).sum((1, 2)) / union).mean()),
    )


def _painted(rows: Sequence[_Row], shape: tuple[int, ...]) -> Votes:
    labels = np.zeros(shape, np.int32)
    for number in range(len(rows), 0, -1):  # the highest score last, on top
        row = rows[number - 1]
        labels[row.window][row.mask] = number
    return Votes(
        labels,
        np.array([row.score for row in rows], np.float32),
        np.array([row.box for row in rows], np.float32).reshape(-1, 4),
        np.array([row.votes for row in rows], np.int64),
        np.array([row.agreement for row in rows], np.float32),
    )
