"""Time to read an image and its labels: from one PNG a nucleus (BBBC038) or nucleist's caches."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from nucleist.data import BBBC038, InMemory, Prepared
from nucleist.types import Source
from scripts.bench.measure import Case, race
from scripts.bench.meter import Meter
from scripts.bench.settings import Settings

PNGS, PREPARED, MEMORY = "one PNG a nucleus", "Prepared: label PNG", "InMemory"
WAYS = (PNGS, PREPARED, MEMORY)


def read(meter: Meter, way: str, root: Path, cache: Path) -> Callable[[], np.ndarray]:
    """Prepare one way of reading; a run returns the labels."""
    source: Source = BBBC038(str(root), train=1)
    if way == PREPARED:
        source = Prepared(source, cache)
    elif way == MEMORY:
        source = InMemory(source)
    (image_id,) = source.splits()["train"]
    if way != PNGS:
        source.read(image_id)  # the first call fills the cache
    return lambda: source.read(image_id).labels


def measure(settings: Settings, tick: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """A row for each way of reading and each size, with as many nuclei as fit."""
    for size, nuclei in dict(settings.cells).items():
        tick(f"loading, {size} px, {nuclei} nuclei")
        root, cache = (settings.folder / f"{kind}_{size}" for kind in ("pngs", "cache"))
        write(settings.drawn(size, nuclei), root / "drawn")
        options = {"root": root, "cache": cache}
        found = race(
            {way: Case(read, options={"way": way, **options}) for way in WAYS}, settings.runs
        )
        kilobytes = {
            PNGS: _kilobytes(root.glob("drawn/masks/*.png")),
            PREPARED: _kilobytes(cache.rglob("*.labels.*")),
        }
        for way, outcome in found.items():
            yield {
                "size": size,
                "nuclei": 0 if outcome.result is None else len(np.unique(outcome.result)) - 1,
                "way": way,
                "taken": outcome.timing or outcome.problem,
                "kilobytes": kilobytes.get(way),
            }


def write(drawn: Path, folder: Path) -> None:
    """Write an image and its nuclei in the layout of BBBC038."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    with np.load(drawn) as file:
        image, labels = file["image"], file["labels"]
    (folder / "images" / f"{folder.name}.png").write_bytes(imagecodecs.png_encode(image))
    for number in np.unique(labels)[1:]:
        mask = np.where(labels == number, 255, 0).astype(np.uint8)
        (folder / "masks" / f"{number:05d}.png").write_bytes(imagecodecs.png_encode(mask))


def _kilobytes(files: Iterable[Path]) -> float:
    return sum(path.stat().st_size for path in files) / 1024
