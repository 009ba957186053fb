"""Drawn stacks and films whose truth is known, and scores of the Cell Tracking Challenge."""

import contextlib
import io
import warnings
from pathlib import Path

import numpy as np
import tifffile

from nucleist.ops.tracking import Tracks


def balls(places, radii, shape):
    """Balls (discs in 2D) as a label map of any dimension; of two the nearer has a pixel."""
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    labels, best = np.zeros(shape, np.int32), np.ones(shape)
    for i, (place, radius) in enumerate(zip(places, radii, strict=True), 1):
        depth = ((grid - place) ** 2).sum(-1) / radius**2
        inside = depth < best
        labels[inside], best[inside] = i, depth[inside]
    return labels


def scattered(rng, count, shape, radius, apart=1.0):
    """Places of so many balls of about a radius that do not overlap; fewer if they do not fit."""
    places, radii = [], []
    for _ in range(200 * count):
        size = rng.uniform(0.8, 1.2) * radius
        place = rng.uniform(size, np.maximum(np.array(shape) - size, size + 1e-6))
        near = [
            np.linalg.norm(place - p) < apart * (size + r)
            for p, r in zip(places, radii, strict=True)
        ]
        if not any(near):
            places.append(place)
            radii.append(size)
        if len(places) == count:
            break
    return places, radii


def renamed(rng, labels):
    """The same nuclei with random labels."""
    ids = np.unique(labels[labels > 0])
    lookup = np.zeros(int(labels.max(initial=0)) + 1, np.int32)
    lookup[ids] = rng.permutation(len(ids) + 3)[: len(ids)] + 1
    return lookup[labels]


def film(seed=0, frames=12, shape=(128, 128), count=8, radius=7.0, step=2.0, divides=0.04):
    """Nuclei that wander, divide, vanish and come: the truth, as `follow` should find it."""
    rng = np.random.default_rng(seed)
    places, radii = scattered(rng, count, shape, radius, 1.3)
    cells = [
        [i + 1, place, size, 4] for i, (place, size) in enumerate(zip(places, radii, strict=True))
    ]
    rows = [[cell[0], 0, 0, 0] for cell in cells]
    painted = []
    for t in range(frames):
        if t:
            cells = _moved(rng, cells, shape, step)
            cells = _divided(rng, cells, rows, shape, t, divides)
        labels = balls([c[1] for c in cells], [c[2] for c in cells], shape)
        lookup = np.array([0, *(c[0] for c in cells)], np.int32)
        painted.append(lookup[labels])
        for cell in cells:
            rows[cell[0] - 1][2] = t
    return Tracks(painted, np.array(rows, np.int64))


def _free(place, size, others, shape, apart=1.1):
    inside = np.all(place >= size) and np.all(place <= np.array(shape) - size)
    return inside and all(np.linalg.norm(place - c[1]) >= apart * (size + c[2]) for c in others)


def _moved(rng, cells, shape, step):
    """Each one a step further, if nothing is in its way; the small ones grow."""
    for cell in cells:
        others = [c for c in cells if c is not cell]
        place = cell[1] + rng.normal(0, step / np.sqrt(len(shape)), len(shape))
        if _free(place, cell[2], others, shape):
            cell[1] = place
        cell[3] += 1
        grown = cell[2] * 1.04
        if cell[3] < 6 and _free(cell[1], grown, others, shape, 1.0):
            cell[2] = grown
    return cells


def _divided(rng, cells, rows, shape, t, divides):
    """Some in two, of half the area (volume) each, a little apart."""
    for cell in list(cells):
        if cell[3] < 4 or rng.random() > divides:
            continue
        others = [c for c in cells if c is not cell]
        size = cell[2] / 2 ** (1 / len(shape))
        axis = rng.normal(size=len(shape))
        axis *= 1.15 * size / np.linalg.norm(axis)
        pair = cell[1] - axis, cell[1] + axis
        if not all(_free(place, size, others, shape, 1.0) for place in pair):
            continue
        cells.remove(cell)
        for place in pair:
            rows.append([len(rows) + 1, t, t, cell[0]])
            cells.append([len(rows), place, size, 0])
    return cells


def truth_folder(folder: Path, tracks: Tracks) -> Path:
    """The truth as the challenge has it: `TRA/man_track.txt` and masks, `SEG` with the same."""
    for part, name in (("TRA", "man_track"), ("SEG", "man_seg")):
        (folder / part).mkdir(parents=True)
        for t, frame in enumerate(tracks.frames):
            target = folder / part / f"{name}{t:03d}.tif"
            tifffile.imwrite(target, frame.astype(np.uint16), photometric="minisblack")
    lines = [" ".join(map(str, row)) for row in tracks.table.tolist()]
    (folder / "TRA" / "man_track.txt").write_text("\n".join(lines) + "\n")
    return folder


def challenge(result: Path, truth: Path, *names: str) -> dict[str, float]:
    """SEG, DET, TRA and the like, by py-ctcmetrics."""
    from ctc_metrics import evaluate_sequence

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        wanted = ["Valid", *(names or ("SEG", "DET", "TRA"))]
        return evaluate_sequence(str(result), str(truth), wanted, threads=1)
