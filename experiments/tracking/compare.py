"""`nucleist.follow` beside LapTrack on drawn films whose truth is known.

pip install laptrack py-ctcmetrics
python experiments/tracking/compare.py [FILMS]   # writes experiments/tracking/results.md

A film has 30 frames of 192 x 192 px and begins with 15 nuclei that wander, divide and push each
other. `missed`: so many of the nuclei are taken out of each frame before it is followed. Scores are
the Cell Tracking Challenge's, by py-ctcmetrics: TRA, and BC(1), the F1 of divisions found at most
one frame off.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "tests"))  # the drawn films of the tests

from support.films import challenge, film, renamed, truth_folder  # noqa: E402

from nucleist import Tracks, follow, write_tracks  # noqa: E402

CASES = [
    *({"step": step, "missed": 0.0} for step in (2.0, 5.0, 8.0)),
    *({"step": step, "missed": 0.1} for step in (2.0, 5.0)),
]
"""Root mean square of a step, px (a nucleus is about 14 px wide), and share of missed nuclei."""

Tracker = Callable[[list[np.ndarray], float], Tracks]


def with_nucleist(frames: list[np.ndarray], reach: float) -> Tracks:
    return follow(frames, reach=reach, gap=1)


def with_laptrack(frames: list[np.ndarray], reach: float) -> Tracks:
    """The same reach, gaps of one frame and divisions; its other options as they come."""
    from laptrack import LapTrack

    ids = [np.unique(frame[frame > 0]) for frame in frames]
    places = [
        np.array([np.argwhere(frame == i).mean(0) for i in own]).reshape(-1, 2)
        for frame, own in zip(frames, ids, strict=True)
    ]
    most = reach**2
    tracker = LapTrack(
        cutoff=most, gap_closing_cutoff=most, gap_closing_max_frame_count=1, splitting_cutoff=most
    )
    graph = tracker.predict(places)
    rows: list[list[int]] = []
    label_of: dict[tuple[int, int], int] = {}
    for node in sorted(graph.nodes):
        before = list(graph.predecessors(node))
        alone = before and graph.out_degree(before[0]) == 1
        if not alone:
            parent = label_of[before[0]] if before else 0
            rows.append([len(rows) + 1, node[0], node[0], parent])
        label_of[node] = label_of[before[0]] if alone else len(rows)
        rows[label_of[node] - 1][2] = node[0]
    painted = [np.zeros_like(frame) for frame in frames]
    for (t, i), label in label_of.items():
        painted[t][frames[t] == ids[t][i]] = label
    return Tracks(painted, np.array(rows))


TRACKERS: dict[str, Tracker] = {"nucleist.follow": with_nucleist, "LapTrack": with_laptrack}


def measure(films: int) -> list[str]:
    """Lines of the table."""
    lines = [
        "| step, px | missed | " + " | ".join(f"{n}: TRA | BC(1) | s" for n in TRACKERS) + " |"
    ]
    lines.append("|" + "---|" * (2 + 3 * len(TRACKERS)))
    for case in CASES:
        cells = []
        for track in TRACKERS.values():
            scores = [score(track, seed, **case) for seed in range(films)]
            tra, divisions, seconds = (fmean(column) for column in zip(*scores, strict=True))
            cells += [f"{tra:.4f}", f"{divisions:.3f}", f"{seconds:.2f}"]
        lines.append(f"| {case['step']:g} | {case['missed']:.0%} | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    return lines


def score(track: Tracker, seed: int, step: float, missed: float) -> tuple[float, float, float]:
    """TRA, BC(1) and seconds on one film."""
    truth = film(seed, frames=30, shape=(192, 192), count=15, step=step, divides=0.03)
    rng = np.random.default_rng(seed)
    frames = []
    for frame in truth.frames:
        lost = [i for i in np.unique(frame) if i and rng.random() < missed]
        frames.append(renamed(rng, np.where(np.isin(frame, lost), 0, frame)))
    started = time.perf_counter()
    found = track(frames, 14.0)
    seconds = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        gold = truth_folder(Path(folder) / "gold", truth)
        own = write_tracks(Path(folder) / "own", found).parent
        scores = challenge(own, gold, "TRA", "BC")
    return scores["TRA"], scores["BC(1)"], seconds


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    table = measure(count)
    head = f"Means over {count} films, made by `experiments/tracking/compare.py {count}`.\n\n"
    (HERE / "results.md").write_text("# Tracking drawn films\n\n" + head + "\n".join(table) + "\n")
