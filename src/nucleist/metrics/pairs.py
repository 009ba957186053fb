"""All measures of pairs of label maps without scores, of each image and of all together."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from nucleist.metrics.counts import SCORES, Counts, LabelMap, count
from nucleist.metrics.nuset_counts import (
    NUSET_SCORES,
    DetectionErrors,
    NusetCounts,
    count_nuset,
    errors_of,
)
from nucleist.ops.contingency import contingency


class PairScores:
    """Collects the scores of one image after another; the overlaps of each are counted once."""

    def __init__(self) -> None:
        self._counts: list[Counts] = []
        self._nuset: list[NusetCounts] = []
        self._errors: list[DetectionErrors] = []

    def add(self, true: LabelMap, pred: LabelMap) -> dict[str, float]:
        """Add an image, and return its row of a table: every measure by name.

        Args:
            true: `(H, W)` integer label map with all nuclei, 0 background.
            pred: `(H, W)` integer label map, 0 background.

        Examples:
            >>> row = PairScores().add(np.array([[1, 1, 0, 2]]), np.array([[1, 1, 0, 0]]))
            >>> row["recall"], row["nuclei"], row["missed"], row["missed_rate"]
            (0.5, 2, 1, 0.5)
        """
        table = contingency(true, pred)
        self._counts.append(count(table))
        self._nuset.append(count_nuset(true, pred, table))
        self._errors.append(errors_of(table))
        return {**self._scores(-1), **self._numbers(slice(-1, None))}

    def means(self) -> Mapping[str, Mapping[str, float]]:
        """`{"map": {"pooled": ..., "per_image": ...}, ...}` over the images so far.

        Pooled adds the counts of all images, then divides; per image is the mean of the rows.
        """
        if not self._counts:
            raise ValueError("Expected at least one image, but none was added")
        counts = Counts(*(np.sum(values, axis=0) for values in zip(*self._counts, strict=True)))
        nuset = NusetCounts(*(sum(values) for values in zip(*self._nuset, strict=True)))
        pooled = {name: float(score(counts)) for name, score in SCORES.items()}
        pooled |= {name: float(score(nuset)) for name, score in NUSET_SCORES.items()}
        rows = [self._scores(i) for i in range(len(self._counts))]
        return {
            name: {"pooled": value, "per_image": float(np.mean([row[name] for row in rows]))}
            for name, value in pooled.items()
        }

    def numbers(self) -> dict[str, int]:
        """Nuclei, detections and errors by kind, over the images so far."""
        return self._numbers(slice(None))

    def _scores(self, i: int) -> dict[str, float]:
        scores = {name: float(score(self._counts[i])) for name, score in SCORES.items()}
        return scores | {name: float(f(self._nuset[i])) for name, f in NUSET_SCORES.items()}

    def _numbers(self, some: slice) -> dict[str, int]:
        objects = {
            "nuclei": sum(c.nuclei for c in self._nuset[some]),
            "detections": sum(c.predicted for c in self._nuset[some]),
        }
        errors: list[Any] = self._errors[some]
        return objects | {
            name: sum(getattr(e, name) for e in errors) for name in DetectionErrors._fields
        }
