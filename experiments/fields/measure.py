"""How many neighbours are found, and how many are wrong: tables for README.md.

    NUCLEIST_DATA=FOLDER .venv/bin/python experiments/fields/measure.py > tables.md

Three parts: fields of BBBC038 by size of image; mosaics cut from Kumar's images; unrelated images.
"""

from collections import Counter

import numpy as np

from nucleist.data.borders import Look, look_at
from nucleist.data.catalog import open_source
from nucleist.data.fields import fields_of, find_pairs
from nucleist.data.readers.synthetic import Synthetic

DRAWN = {
    "drawn, 15 to 40 nuclei, 128 px": {"size": (128, 128)},
    "drawn, dense, 128 px": {"size": (128, 128), "count": None, "coverage": (0.3, 0.5)},
    "drawn, 3 to 20 nuclei, 256 px": {"size": (256, 256), "count": (3, 20)},
    "drawn, 1 to 6 nuclei, no noise, 96 px": {
        **{"size": (96, 96), "count": (1, 6), "noise": (0, 0), "background": (0, 0.001)},
        **{"shading": 0, "texture": 0, "artefacts": (0, 0), "blur": (1, 1)},
    },
}


def images_of(name: str) -> dict[str, np.ndarray]:
    source = open_source(name)
    return {i: source.read(i).image for ids in source.splits().values() for i in ids}


def table(*rows: tuple[object, ...]) -> None:
    rows = (rows[0], ["---"] * len(rows[0]), *rows[1:])
    print("\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows), end="\n\n")


def sizes(looks: dict[str, Look]) -> None:
    pairs = find_pairs(looks)
    fields = fields_of(pairs)
    within = Counter(looks[name].size for some in fields for name in some)
    rows = []
    for size, count in Counter(look.size for look in looks.values()).most_common():
        found = Counter(len(some) for some in fields if looks[some[0]].size == size)
        number = sum(looks[pair.first].size == size for pair in pairs)
        spread = ", ".join(f"{found[n]} of {n}" for n in sorted(found))
        rows.append(("{} x {}".format(*size), count, within[size], number, spread))
    table(("size", "images", "in a field", "pairs", "fields, of images"), *rows)


def mosaics(images: dict[str, np.ndarray]) -> None:
    rows = []
    changes = ((0, 0, 0), (0, 5, 0.2), (0, 15, 0.2), (1, 0, 0), (2, 0, 0), (4, 0, 0))
    for size in (240, 120):
        for gap, noise, contrast in changes:
            looks, truth = {}, set()
            rng = np.random.default_rng(0)
            for name, image in images.items():
                steps = range(0, image.shape[0] - size + 1, size + gap)
                places = [(y, x) for y in steps for x in steps]
                for y, x in places:
                    tile = image[y : y + size, x : x + size] * (1 - contrast * rng.random())
                    tile = tile + rng.normal(0, noise, tile.shape) if noise else tile
                    looks[f"{name}@{y},{x}"] = look_at(np.round(tile.clip(0, 255)).astype(np.uint8))
                    below, right = (y + size + gap, x), (y, x + size + gap)
                    for kind, other in (("below", below), ("right", right)):
                        if other in places:
                            truth.add((kind, f"{name}@{y},{x}", "{}@{},{}".format(name, *other)))
            pairs = {pair[:3] for pair in find_pairs(looks)}
            share = f"{len(pairs & truth) / len(truth):.3f}"
            change = f"{contrast:.0%}"
            rows.append((size, gap, noise, change, len(truth), share, len(pairs - truth)))
    head = ("tile, px", "gap, px", "noise", "contrast", "true pairs", "found", "wrong")
    table(head, *rows)


def moved(looks: dict[str, Look], share: int, mirrored: bool) -> dict[str, Look]:
    """The same images with other upper and left borders: what is found now is wrong."""
    found = {}
    for name, look in looks.items():
        borders = dict(look.borders)
        for side in ("top", "left"):
            detail = borders[side].detail[:: -1 if mirrored else 1]
            detail = np.roll(detail, share * len(detail) // 16)
            borders[side] = borders[side]._replace(detail=detail)
        found[name] = look._replace(borders=borders)
    return found


def unrelated(looks: dict[str, Look], kumar: dict[str, np.ndarray]) -> None:
    rows = []
    wrong = [
        sum(pair.kind in ("below", "right") for pair in find_pairs(moved(looks, share, mirrored)))
        for share in (3, 5, 8, 11, 13)
        for mirrored in (False, True)
    ]
    rows.append(("BBBC038, 10 times, borders moved or mirrored", 10 * len(looks), sum(wrong)))
    field = {name: some[0] for some in fields_of(find_pairs(looks)) for name in some}
    alone = {name: look for name, look in looks.items() if field.get(name, name) == name}
    rows.append(("BBBC038, one image of each field", len(alone), len(find_pairs(alone))))
    some = {name: look_at(image) for name, image in kumar.items()}
    rows.append(("Kumar, patients against each other", len(some), len(find_pairs(some))))
    # Every other tile of every other row: no two adjoin.
    tiles = {
        f"{name}@{y},{x}": look_at(image[y : y + 120, x : x + 120])
        for name, image in kumar.items()
        for y in range(0, 880, 240)
        for x in range(0, 880, 240)
    }
    rows.append(("Kumar, tiles of 120 px, 120 px apart", len(tiles), len(find_pairs(tiles))))
    for name, settings in DRAWN.items():
        source = Synthetic(n_train=300, n_test=0, **settings)
        drawn = {i: look_at(source.read(i).image) for i in source.splits()["train"]}
        rows.append((name, len(drawn), len(find_pairs(drawn))))
    table(("images", "number", "wrong pairs"), *rows)


if __name__ == "__main__":
    kumar = images_of("kumar")
    looks = {name: look_at(image) for name, image in images_of("bbbc038").items()}
    sizes(looks)
    mosaics(kumar)
    unrelated(looks, kumar)
