"""Images in tiles: memory, time, and whether the nuclei are those of the whole image.

python experiments/predict/measure.py make drawn|kumar SIDE FILE.tif [FILLED]
python experiments/predict/measure.py run MODEL IMAGE [key=value ...]
python experiments/predict/measure.py seams MODEL [TILE ...]
python experiments/predict/measure.py same MODEL IMAGE TILE:OVERLAP [... OPTION=NUMBER ...]
python experiments/predict/measure.py alike LABELS.tif LABELS.tif
python experiments/predict/measure.py speed MODEL IMAGE [TILE:OVERLAP ...]
python experiments/predict/measure.py truth MODEL [OPTION=NUMBER ...]
python experiments/predict/measure.py stock MODEL SIDE

`make` writes a mosaic of one image of 1000 x 1000 px as a tiled TIFF: drawn nuclei like those of
`nucleist train demo`, or the first image of Kumar. Of its rows the share FILLED is not black.
`run` starts `nucleist predict` and reports what the process needed; `out=FOLDER` keeps the results,
and goes on with them. `alike` compares two of its label maps. Other lines are tables.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import tifffile
import torch
from scipy.ndimage import gaussian_filter

import nucleist
from nucleist.data.readers.kumar import Kumar
from nucleist.data.readers.synthetic import Synthetic
from nucleist.inference.load import Model
from nucleist.inference.tiles.grid import Grid
from nucleist.metrics import PairScores
from nucleist.models import otsu
from nucleist.ops.normalize import Percentile

PIECE, BLOCK = 1000, 512


def base(kind: str) -> np.ndarray:
    """An image of 1000 x 1000 px, `uint8`."""
    if kind == "kumar":
        source = Kumar(Path(os.environ["NUCLEIST_DATA"]) / "kumar")
        return source.read(source.splits()["test"][0]).image
    drawn = Synthetic(1, 1, size=(PIECE, PIECE), count=(420, 420), radius=(8.0, 13.0), overlap=0.1)
    return drawn.read(drawn.splits()["test"][0]).image


def make(kind: str, side: int, path: Path, filled: float = 1.0) -> None:
    """Write a mosaic tile by tile; rows beyond the filled share are black."""
    shape, options = (side, side, 3), {"compression": "zlib", "photometric": "rgb"}
    blocks = mosaic(base(kind), side, int(filled * side))
    tifffile.imwrite(
        path, blocks, shape=shape, dtype=np.uint8, tile=(BLOCK, BLOCK), bigtiff=True, **options
    )


def mosaic(piece: np.ndarray, side: int, filled: int) -> Iterator[np.ndarray]:
    """Blocks of a mosaic of one image, row by row; pixels outside and below `filled` are 0."""
    for top in range(0, side, BLOCK):
        rows = np.arange(top, min(top + BLOCK, filled, side)) % PIECE
        for left in range(0, side, BLOCK):
            cols = np.arange(left, min(left + BLOCK, side)) % PIECE
            block = np.zeros((BLOCK, BLOCK, 3), np.uint8)
            block[: len(rows), : len(cols)] = piece[np.ix_(rows, cols)]
            yield block


def run(model: str, image: str, words: list[str]) -> None:
    """Start `nucleist predict`; print time and peak memory of the process."""
    kept = [word.removeprefix("out=") for word in words if word.startswith("out=")]
    words = [word for word in words if not word.startswith("out=")]
    with nullcontext(kept[0]) if kept else tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "nucleist", "predict", model, image, "-o", folder, *words]
        begin = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        wall, used = time.monotonic() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
        lines = (Path(folder) / ".nucleist_predict.jsonl").read_text().splitlines()
    count = lines[-1].split('"nuclei": ')[1].split(",")[0]
    print(
        f"| {Path(image).name} | {' '.join(words)} | {count} | {wall:.0f} | "
        f"{used.ru_utime + used.ru_stime:.0f} | {used.ru_maxrss / 1024:.0f} |",
        flush=True,
    )


def best_ious(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The largest IoU of each nucleus of a label map with one of another."""
    pairs: dict[tuple[int, int], int] = {}
    for top in range(0, one.shape[0], 1024):
        a, b = np.asarray(one[top : top + 1024]), np.asarray(other[top : top + 1024])
        both = (a > 0) & (b > 0)
        found, shared = np.unique(np.stack([a[both], b[both]]), axis=1, return_counts=True)
        for (x, y), n in zip(found.T.tolist(), shared.tolist(), strict=True):
            pairs[x, y] = pairs.get((x, y), 0) + n
    area, area_of_other = (np.bincount(np.asarray(m).ravel()) for m in (one, other))
    best = np.zeros(len(area))
    for (x, y), n in pairs.items():
        best[x] = max(best[x], n / (area[x] + area_of_other[y] - n))
    return best[1:]


def compared(name: str, one: np.ndarray, other: np.ndarray) -> None:
    """A line about two label maps: nuclei, and how many agree."""
    there, back = best_ious(one, other), best_ious(other, one)
    print(
        f"| {name} | {len(there)} | {len(back)} | {(there >= 0.99).sum()} | "
        f"{there[there > 0.5].min(initial=1):.3f} | {(there <= 0.5).sum()} | "
        f"{(back <= 0.5).sum()} |",
        flush=True,
    )


def on_seams(grids: list[Grid], seed: int = 0) -> tuple[np.ndarray, int]:
    """Drawn nuclei with their middles on every seam, on the corners, and between them."""
    rng, (height, width) = np.random.default_rng(seed), (grids[0].height, grids[0].width)
    cores = [grid.core(tile) for grid in grids for tile in range(len(grid))]
    rows, cols = _line({c.y0 for c in cores}, height), _line({c.x0 for c in cores}, width)
    light = np.zeros((height, width), np.float32)
    ys, xs = np.mgrid[-16:17, -16:17]
    for y in rows:
        for x in cols:
            (a, b), turn = rng.uniform(8, 12, 2), rng.uniform(0, np.pi)
            u, v = xs * np.cos(turn) + ys * np.sin(turn), ys * np.cos(turn) - xs * np.sin(turn)
            inside = (u / a) ** 2 + (v / b) ** 2 <= 1
            light[y - 16 : y + 17, x - 16 : x + 17] += inside * rng.uniform(0.5, 0.9)
    image = gaussian_filter(light, 1) * 150 + 25 + rng.normal(0, 3, light.shape)
    return image.clip(0, 255).astype(np.uint8)[..., None].repeat(3, 2), len(rows) * len(cols)


def _line(seams: set[int], side: int, step: int = 32) -> list[int]:
    middles = sorted(seam for seam in seams if seam)
    more = [x for x in range(step, side - step, step) if all(abs(x - m) >= step for m in middles)]
    return sorted(middles + more)


def seams(model: Model, only: Collection[int]) -> None:
    """A grid of nuclei on every seam: tiles of three sides with three overlaps each."""
    print("| tile, overlap (drawn) | untiled | tiles | IoU >= 0.99 | least IoU | lost | new |")
    print("|---|---|---|---|---|---|---|")
    for tile, side in ((512, 1000), (1024, 1900), (2048, 2400)):
        if only and tile not in only:
            continue
        grids = [Grid(side, side, tile, overlap) for overlap in (64, 128, 256)]
        image, drawn = on_seams(grids)
        whole = model.predict(image, tile="none").labels
        for grid in grids:
            found = model.predict(image, tile=tile, overlap=grid.overlap).labels
            compared(f"{tile}, {grid.overlap} ({drawn})", whole, found)


def same(model: Model, image: str, cuts: list[str]) -> None:
    """The nuclei of one image with several tiles, each beside those of the first."""
    print("| tile:overlap | nuclei of the first | nuclei | IoU >= 0.99 | least IoU | lost | new |")
    print("|---|---|---|---|---|---|---|")
    first = None
    for cut in cuts:
        tile, _, overlap = cut.partition(":")
        sides = {"tile": "none"} if tile == "none" else {"tile": int(tile), "overlap": int(overlap)}
        labels = model.predict(image, **sides).labels
        first = labels if first is None else first
        compared(cut, first, labels)


def speed(model: Model, image: str, cuts: list[str], runs: int = 5) -> None:
    """CPU seconds of one thread, untiled and in tiles, in turns."""
    pixels = tifffile.imread(image)
    ways = {"none": {"tile": "none"}}
    for cut in cuts:
        tile, _, overlap = cut.partition(":")
        ways[cut] = {"tile": int(tile), "overlap": int(overlap)}
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(runs + 1):
        for way, sides in ways.items():
            begin = time.process_time()
            model.predict(pixels, **sides)
            taken[way].append(time.process_time() - begin)
    for way, seconds in taken.items():
        mid = np.median(seconds[1:])
        print(f"| {way} | {mid:.2f} | {mid / np.median(taken['none'][1:]):.2f} |", flush=True)


def truth(model: Model) -> None:
    """Every third image of Kumar, four in all, beside its labels."""
    source = Kumar(Path(os.environ["NUCLEIST_DATA"]) / "kumar")
    names = [name for ids in source.splits().values() for name in ids][::3][:4]
    records, pairs, count = [source.read(name) for name in names], PairScores(), 0
    begin = time.process_time()
    for record in records:
        found = model.predict(record.image)
        pairs.add(record.labels, found.labels)
        count += len(found.scores)
    seconds, scores = (time.process_time() - begin) / len(records), pairs.means()
    each = (f"{scores[name]['pooled']:.3f}" for name in ("recall", "precision", "map"))
    print(f"| {count} | {' | '.join(each)} | {seconds:.1f} |")


def stock(model: Model, side: int) -> None:
    """Torchvision's own Mask R-CNN with these weights on a mosaic, in this process."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from scripts.bench.stock import stock_of

    if hasattr(model.net.rpn, "center_head"):
        del model.net.rpn.center_head  # torchvision has none
    net = stock_of(model.net, model.config["model"], side).eval()
    times = -(-side // PIECE)
    pixels = np.tile(model.normalize(base("drawn")), (times, times, 1))[:side, :side]
    begin = time.process_time()
    with torch.inference_mode():
        found = net([torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))])[0]
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds, count = time.process_time() - begin, len(found["scores"])
    print(f"| torchvision {side} | {count} | {seconds:.0f} | {used.ru_maxrss / 1024:.0f} |")


def loaded(name: str, options: dict[str, int] | None = None) -> Model:
    """A model by its name or run, with other options of its net; `otsu` needs no model."""
    if name == "otsu":
        return Model(otsu().eval(), Percentile(), 0.4, {}, Path("otsu"))
    return nucleist.load(name, device="cpu", options=options or {})


def main(verb: str, *words: str) -> None:
    torch.set_num_threads(1)
    if verb == "make":
        make(words[0], int(words[1]), Path(words[2]), float(words[3]) if words[3:] else 1.0)
    elif verb == "run":
        run(words[0], words[1], list(words[2:]))
    elif verb == "alike":
        compared(words[1], *map(tifffile.imread, words))
    else:
        pairs = [word.split("=") for word in words if "=" in word]
        words = tuple(word for word in words if "=" not in word)
        model = loaded(words[0], {key: int(value) for key, value in pairs})
        if verb == "stock":
            stock(model, int(words[1]))
        elif verb == "truth":
            truth(model)
        elif verb == "seams":
            seams(model, [int(tile) for tile in words[1:]])
        else:
            {"same": same, "speed": speed}[verb](model, words[1], list(words[2:]))


if __name__ == "__main__":
    main(*sys.argv[1:])
