"""What Cellpose and StarDist score on label maps that the tests draw, and how that was stored.

Their packages need more than a test run should install, so their values are in
`tests/metrics/other_tools.json` with the versions that gave them. To make it again, in an
environment with both packages (nucleist is not needed there):

    pip install cellpose stardist && python tests/support/other_tools.py
"""

import hashlib
import json
import sys
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parents[1]))  # as a script it finds its neighbours
from support import oracles

STORED = Path(__file__).parents[1] / "metrics" / "other_tools.json"
STEPS = np.arange(10, 20) / 20
HAIR = 1e-6  # IoUs of maps this small differ from a multiple of 1/20 by 1e-5 at least, or not
SIDES = {"inclusive": -HAIR, "strict": HAIR}
"""Both tools match at IoU >= t in floating point; a little below or above t separates ties."""

Maps = tuple[np.ndarray, np.ndarray]


def random_maps(seed: int) -> Maps:
    """Two label maps with the labels 1, 2, ... that these tools expect."""
    true, pred = (
        np.unique(np.append(drawn, 0), return_inverse=True)[1][:-1].reshape(drawn.shape)
        for drawn in oracles.random_maps(seed, size=40, nuclei=12)
    )
    return true, pred


def shifted_squares() -> Maps:
    """Three squares of 10 px, shifted by 0, 1 and 2 columns."""
    true, pred = np.zeros((2, 60, 20), int)
    for i in range(3):
        true[20 * i : 20 * i + 10, 0:10] = i + 1
        pred[20 * i : 20 * i + 10, i : 10 + i] = i + 1
    return true, pred


def split_square() -> Maps:
    """One nucleus of 100 pixels, predicted as 60 + 40."""
    true, pred = np.zeros((2, 10, 12), int)
    true[:, :10] = 1
    pred[:, :6], pred[:, 6:10] = 1, 2
    return true, pred


PAIRS = {f"random {seed}": random_maps(seed) for seed in range(20)}
AJI_PAIRS = {"shifted squares": shifted_squares(), "split square": split_square()}


def hash_of(pair: Maps) -> str:
    """Changes if NumPy should draw other maps from the same seed one day."""
    content = b"".join(labels.astype("<i4").tobytes() for labels in pair)
    return hashlib.sha256(content).hexdigest()[:16]


def measured() -> dict[str, Any]:
    """The scores of both tools on every pair."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of their imports
        from cellpose import metrics as cellpose
        from stardist.matching import matching

    found: dict[str, Any] = {}
    for name, (true, pred) in PAIRS.items():
        entry: dict[str, Any] = {"maps": hash_of((true, pred))}
        for side, shift in SIDES.items():
            precisions, *_ = cellpose.average_precision(true, pred, STEPS + shift)
            at = [matching(true, pred, thresh=t) for t in STEPS + shift]
            half = {k: float(getattr(at[0], k)) for k in ("precision", "recall", "f1")}
            pq = float(at[0].panoptic_quality)
            accuracy = float(np.mean([match.accuracy for match in at]))
            entry[side] = {
                "cellpose": {"map": float(precisions.mean())},
                "stardist": {"map": accuracy, **half, "pq": pq},
            }
        found[name] = entry
    for name, (true, pred) in AJI_PAIRS.items():
        (aji,) = cellpose.aggregated_jaccard_index([true], [pred])
        found[name] = {"maps": hash_of((true, pred)), "cellpose": {"aji": float(aji)}}
    return found


def main() -> None:
    """Write `other_tools.json`."""
    versions = {name: version(name) for name in ("cellpose", "stardist", "numpy")}
    command = "python tests/support/other_tools.py"
    content = {"command": command, "versions": versions, "pairs": measured()}
    STORED.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
