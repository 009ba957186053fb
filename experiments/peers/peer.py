"""What both peers do alike, in their own environment: files in, files out; needs no nucleist.

    python -m experiments.peers.NAME train   FOLDER OUT --minutes 9 [--ignore]
    python -m experiments.peers.NAME grid    FOLDER OUT
    python -m experiments.peers.NAME predict FOLDER OUT --setting 0.5_0.4

FOLDER is what `export.py` wrote. `train` leaves a model in OUT; `grid` writes label images of the
validation images at many settings; `predict` those of the test images at one, with the seconds.
"""

import argparse
import json
import os
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import tifffile

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
for name in THREADS:
    os.environ.setdefault(name, "1")

Setting = tuple[float, ...]


class Part(NamedTuple):
    """Images of one use.

    Attributes:
        names: Of the images.
        images: `(H, W)` gray, as stored.
        labels: `(H, W)` `int32`, 0 where nothing is labelled.
        known: `(H, W)` bool, False where an unlabelled pixel may be a nucleus.
    """

    names: list[str]
    images: list[np.ndarray]
    labels: list[np.ndarray]
    known: list[np.ndarray]


class Predictor(Protocol):
    """A trained peer."""

    def maps(self, image: np.ndarray) -> Any:
        """What the net gives, from which nuclei follow at any setting."""

    def nuclei(self, maps: Any, setting: Setting) -> np.ndarray:
        """The label map at a setting."""


class Peer(NamedTuple):
    """A tool.

    Attributes:
        train: Trains for so many CPU seconds; called with OUT, training and validation images and
            the seconds; returns what is to be noted.
        load: The trained model of OUT.
        settings: What is chosen on validation images.
    """

    train: Callable[[Path, Part, Part, float], dict[str, Any]]
    load: Callable[[Path], Predictor]
    settings: Sequence[Setting]


def read(folder: Path, use: str) -> Part:
    paths = sorted((folder / use / "images").glob("*.tif"))
    names = [path.stem for path in paths]
    there = [folder / use / "known" / path.name for path in paths]
    stored = (tifffile.imread(folder / use / "labels" / path.name) for path in paths)
    labels = [one.astype(np.int32) for one in stored]
    known = [
        tifffile.imread(path) > 0 if path.exists() else np.ones(one.shape, bool)
        for path, one in zip(there, labels, strict=True)
    ]
    return Part(names, [tifffile.imread(path) for path in paths], labels, known)


def named(setting: Setting) -> str:
    return "_".join(f"{value:g}" for value in setting)


def write(folder: Path, name: str, labels: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(folder / f"{name}.tif", labels.astype(np.uint16), compression="zlib")


def note(path: Path, **content: Any) -> None:
    """Write what was done, with CPU seconds and the most memory of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    content |= {"cpu_seconds": round(used.ru_utime + used.ru_stime, 1)}
    content |= {"peak_gb": round(used.ru_maxrss / 1024**2, 2)}
    path.write_text(json.dumps(content, indent=1) + "\n")


def predict(model: Predictor, images: Part, setting: Setting, folder: Path) -> list[float]:
    """Write the label images; seconds of each image, the first of which is not counted."""
    seconds = []
    model.nuclei(model.maps(images.images[0]), setting)
    for name, image in zip(images.names, images.images, strict=True):
        begun = time.perf_counter()
        labels = model.nuclei(model.maps(image), setting)
        seconds.append(round(time.perf_counter() - begun, 3))
        write(folder, name, labels)
    return seconds


def main(peer: Peer) -> None:
    words = argparse.ArgumentParser()
    words.add_argument("command", choices=("train", "grid", "predict"))
    words.add_argument("folder", type=Path)
    words.add_argument("out", type=Path)
    words.add_argument("--minutes", type=float, default=9.0, help="CPU minutes of the training")
    words.add_argument("--ignore", action="store_true", help="unknown pixels are not background")
    words.add_argument("--setting", default="")
    given = words.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.command == "train":
        train = read(given.folder, "train")
        if given.ignore:
            pairs = zip(train.labels, train.known, strict=True)
            train = train._replace(labels=[np.where(known, one, -1) for one, known in pairs])
        found = peer.train(given.out, train, read(given.folder, "val"), 60 * given.minutes)
        note(given.out / "train.json", **found)
        return
    model = peer.load(given.out)
    if given.command == "predict":
        setting = tuple(map(float, given.setting.split("_")))
        seconds = predict(model, read(given.folder, "test"), setting, given.out / "test")
        note(given.out / "predict.json", setting=given.setting, seconds=seconds)
        return
    val = read(given.folder, "val")
    for name, image in zip(val.names, val.images, strict=True):
        maps = model.maps(image)
        for setting in peer.settings:
            write(given.out / "val" / named(setting), name, model.nuclei(maps, setting))
    note(given.out / "grid.json")
