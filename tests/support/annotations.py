"""A folder of small drawn images, and random commands on them."""

import random
from pathlib import Path

import numpy as np
from skimage.draw import disk

from nucleist.data.formats.images import write_image

SIZE = (64, 64)


def folder_of_images(folder: Path, count: int = 2) -> Path:
    """A folder with images of bright discs."""
    generator = np.random.default_rng(0)
    for number in range(count):
        image = generator.integers(10, 30, (*SIZE, 3), dtype=np.uint8)
        image[:] = image[..., :1]
        for y, x in ((16, 16), (16, 46), (46, 16), (46, 46)):
            image[disk((y, x), 8, shape=SIZE)] += 150
        write_image(folder / f"image{number}", image)
    return folder


def ring(x: float, y: float, radius: float = 8, count: int = 8) -> list[list[float]]:
    """Anchors on a circle."""
    angles = np.arange(count) * 2 * np.pi / count
    return [[x + radius * float(np.cos(a)), y + radius * float(np.sin(a))] for a in angles]


def random_command(things, random_: random.Random) -> dict:
    """A command that may be given to a picture with these things; it may be refused."""
    ids = sorted(one.id for one in things.values() if one.kind == "nucleus")
    names = ["add", "add", "region", "undo", "redo", "whole"]
    if ids:
        names += ["move_anchor", "insert_anchor", "delete_anchor", "move", "delete", "cut"]
        names += ["accept", "reject", "accept_above", "reshape", "merge"]
    x, y = random_.uniform(5, 59), random_.uniform(5, 59)
    one = random_.choice(ids) if ids else ""
    some = random_.sample(ids, min(len(ids), 2))
    return {
        "do": random_.choice(names),
        "anchors": ring(x, y, random_.uniform(3, 9), random_.randint(3, 12)),
        "corners": [[x, y], [x + random_.uniform(2, 20), y + 5]],
        "id": one,
        "ids": some,
        "anchor": random_.randint(0, 8),
        "to": [x, y],
        "by": [random_.uniform(-3, 3), random_.uniform(-3, 3)],
        "line": [[x, 0], [y, 64]],
        "score": random_.random(),
    }
