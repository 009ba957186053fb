"""The scores by their definitions: nested loops over whole boolean masks, obviously right.

Slow on purpose. Nothing here is shared with nucleist, so that a mistake cannot be made twice.
"""

from fractions import Fraction
from itertools import combinations, permutations

import numpy as np


def masks(labels):
    """The nuclei of a label map as boolean masks, in the order of their labels."""
    return [labels == i for i in sorted(set(labels.ravel().tolist()) - {0})]


def iou(a, b):
    """Exact intersection over union of two boolean masks."""
    return Fraction(int((a & b).sum()), int((a | b).sum()))


def matches(true, pred, threshold, inclusive=False):
    """Largest number of one-to-one pairs above the threshold, by trying all assignments."""
    rows, columns = masks(true), masks(pred)
    ok = [[iou(a, b) >= threshold if inclusive else iou(a, b) > threshold for b in columns]
          for a in rows]  # fmt: skip
    if threshold > Fraction(1, 2):  # then each row and column has one pair at most
        return sum(map(sum, ok))

    def best(row, free):
        if row == len(rows):
            return 0
        taken = [1 + best(row + 1, free - {k}) for k in free if ok[row][k]]
        return max([best(row + 1, free), *taken])

    return best(0, frozenset(range(len(columns))))


def mean_average_precision(true, pred, inclusive=False):
    values = []
    for k in range(10, 20):
        tp = matches(true, pred, Fraction(k, 20), inclusive)
        fp, fn = len(masks(pred)) - tp, len(masks(true)) - tp
        values.append(Fraction(tp, tp + fp + fn) if tp + fp + fn else Fraction(1))
    return float(sum(values) / 10)


def precision_recall(true, pred, threshold=Fraction(1, 2)):
    n_true, n_pred = len(masks(true)), len(masks(pred))
    if n_true == n_pred == 0:
        return 1.0, 1.0
    tp = matches(true, pred, threshold)
    return (tp / n_pred if n_pred else 0.0), (tp / n_true if n_true else 0.0)


def aggregated_jaccard_index(true, pred):
    """Kumar's algorithm: nuclei in label order take the best prediction still unused."""
    above, below, unused = 0, 0, masks(pred)
    for g in masks(true):
        best = None
        for k, s in enumerate(unused):
            if (g & s).any() and (best is None or iou(g, s) > iou(g, unused[best])):
                best = k
        if best is None:
            below += int(g.sum())
        else:
            s = unused.pop(best)
            above += int((g & s).sum())
            below += int((g | s).sum())
    below += sum(int(s.sum()) for s in unused)
    return above / below if below else 1.0


def aggregated_jaccard_index_optimal(true, pred):
    """The values AJI can take under a pairing with the largest sum of IoUs (all of them)."""
    rows, columns = masks(true), masks(pred)
    total = sum(int(m.sum()) for m in rows + columns)
    if not total:
        return {1.0}
    small = min(len(rows), len(columns))
    sums = {}
    for chosen in combinations(range(len(rows)), small):
        for partner in permutations(range(len(columns)), small):
            pairs = [(rows[r], columns[c]) for r, c in zip(chosen, partner, strict=True)]
            above = sum(int((g & s).sum()) for g, s in pairs)
            gain = sum((iou(g, s) for g, s in pairs), Fraction(0))
            sums.setdefault(gain, set()).add(above / (total - above))
    return sums[max(sums)]


def normalized_coverage_score(true, pred):
    rows, columns = masks(true), masks(pred)
    if not rows:
        return 0.0 if columns else 1.0
    best = [max([iou(g, s) for s in columns], default=Fraction(0)) for g in rows]
    area = [int(g.sum()) for g in rows]
    return float(sum(a * b for a, b in zip(area, best, strict=True)) / sum(area))


def panoptic_quality(true, pred):
    rows, columns = masks(true), masks(pred)
    if not rows and not columns:
        return 1.0
    hits = [iou(g, s) for g in rows for s in columns if iou(g, s) > Fraction(1, 2)]
    fp, fn = len(columns) - len(hits), len(rows) - len(hits)
    return float(sum(hits, Fraction(0)) / (len(hits) + Fraction(fp, 2) + Fraction(fn, 2)))


def random_maps(seed, size=24, nuclei=6):
    """Two label maps of rectangles; the second is the first shifted, resized, thinned out."""
    rng = np.random.default_rng(seed)
    true, pred = np.zeros((2, size, size), np.int32)
    ids = rng.choice(np.arange(1, 60), (2, nuclei), replace=False)
    for a, b in ids.T:
        y, x = rng.integers(0, size - 4, 2)
        h, w = rng.integers(2, 9, 2)
        true[y : y + h, x : x + w] = a
        if rng.random() < 0.85:
            y, x, h, w = np.maximum(np.array([y, x, h, w]) + rng.integers(-1, 2, 4), [0, 0, 1, 1])
            pred[y : y + h, x : x + w] = b
    return true, pred
