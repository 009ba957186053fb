"""Images of one field: mosaics of known cuts are put together, unrelated images are not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.real import place

from nucleist.data.borders import Border, look_at, window_of
from nucleist.data.fields import (
    EVIDENCE,
    Pair,
    brightness_evidence,
    evidence,
    fields_of,
    find_pairs,
)
from nucleist.data.readers.bbbc038 import BBBC038, known_fields
from nucleist.data.readers.kumar import Kumar
from nucleist.data.readers.synthetic import Synthetic


def drawn(number, size=(360, 360), **more):
    """A field with many nuclei."""
    dense = {"count": None, "coverage": (0.4, 0.5), "radius": (5, 7), "artefacts": (0, 0)}
    return Synthetic(size=size, **{**dense, **more}).read(f"synthetic-train-{number:04d}").image


def mosaic(name, image, size, change=lambda tile: tile, gap=0):
    """Tiles of an image by name, and the pairs that adjoin."""
    steps = range(0, image.shape[0] - size + 1, size + gap)
    tiles = {(y, x): image[y : y + size, x : x + size] for y in steps for x in steps}
    looks = {f"{name}@{y},{x}": look_at(change(tile)) for (y, x), tile in tiles.items()}
    truth = set()
    for y, x in tiles:
        for kind, other in (("below", (y + size + gap, x)), ("right", (y, x + size + gap))):
            if other in tiles:
                truth.add((kind, f"{name}@{y},{x}", f"{name}@{other[0]},{other[1]}"))
    return looks, truth


def found(looks):
    return {pair[:3] for pair in find_pairs(looks)}


def noisy(rng, contrast, noise):
    """Changes the contrast of a tile, each time otherwise, and adds noise."""

    def change(tile):
        scale, shift = rng.uniform(1 - contrast, 1 + contrast / 2), rng.uniform(0, 50 * contrast)
        values = tile * scale + shift + rng.normal(0, noise, tile.shape)
        return np.round(values.clip(0, 255)).astype(np.uint8)

    return change


@pytest.mark.slow
@pytest.mark.parametrize(("contrast", "noise"), [(0, 0), (0, 4), (0.1, 0)])
def test_drawn_fields_are_put_together(contrast, noise):
    change = noisy(np.random.default_rng(0), contrast, noise)
    looks, truth = {}, set()
    for number in range(3):
        some, pairs = mosaic(f"f{number}", drawn(number), 120, change)
        looks, truth = looks | some, truth | pairs
    right = found(looks)
    assert right <= truth and len(right) >= 0.9 * len(truth)
    assert [len(some) for some in fields_of(find_pairs(looks))] == [9, 9, 9]
    # The order of the images does not matter.
    assert found(dict(reversed(looks.items()))) == right


@pytest.mark.slow
def test_unrelated_images_are_no_neighbours():
    looks = {str(number): look_at(drawn(number, (96, 96))) for number in range(40)}
    sparse = {"coverage": (0.02, 0.1), "noise": (0, 0), "texture": 0}
    looks |= {f"s{number}": look_at(drawn(number, (96, 96), **sparse)) for number in range(40)}
    assert find_pairs(looks) == []


def test_a_border_with_one_nucleus_decides_nothing():
    # Squares of 12 px on black, at the same place of the lower and the upper border: the
    # correlation is 1, and the brightness is not that of one nucleus.
    one, other, third = (np.zeros((96, 96, 3), np.uint8) for _ in range(3))
    one[-6:, 40:52], other[:6, 40:52], third[:6, 70:82] = 200, 120, 200
    looks = {name: look_at(image) for name, image in zip("abc", (one, other, third), strict=True)}
    assert find_pairs(looks) == []
    assert find_pairs({name: look_at(np.full((64, 64, 3), 7, np.uint8)) for name in "ab"}) == []
    assert find_pairs({"a": looks["a"]}) == find_pairs({}) == []


def test_a_repeated_border_is_ambiguous():
    # Two images of the same upper border: neither of them is clearly the neighbour.
    field = drawn(0, (240, 120))
    upper, lower = field[:120], field[120:]
    again = lower.copy()
    again[2:] = drawn(1, (240, 120))[2:120]
    pair = find_pairs({"a": look_at(upper), "b": look_at(lower)})
    assert [one[:3] for one in pair] == [("below", "a", "b")]
    looks = {"a": look_at(upper), "b": look_at(lower), "c": look_at(again)}
    assert find_pairs(looks) == []


@pytest.mark.parametrize("turns", range(8))
def test_turned_and_mirrored_images_look_alike(turns):
    image = drawn(3, (96, 80))
    turned = np.rot90(image if turns < 4 else image[::-1], turns % 4)
    (pair,) = find_pairs({"a": look_at(image), "b": look_at(turned), "c": look_at(drawn(4))})
    assert pair.kind == ("copy" if turns == 0 else "alike")
    assert pair[1:3] == ("a", "b") and pair.correlation > 0.99 and pair.evidence > EVIDENCE


def test_copies_are_told_in_pairs_and_the_first_has_the_neighbours():
    field = drawn(0, (240, 120))
    looks = {"b": look_at(field[:120]), "c": look_at(field[:120]), "a": look_at(field[:120])}
    looks["d"] = look_at(field[120:])
    kinds = [pair[:3] for pair in find_pairs(looks)]
    assert kinds == [
        *(("copy", "a", "b"), ("copy", "a", "c"), ("copy", "b", "c")),
        ("below", "a", "d"),
    ]
    # The same values in another type are other pixels, and look alike.
    (pair,) = find_pairs({"a": looks["a"], "b": look_at(field[:120].astype(np.uint16))})
    assert pair.kind == "alike"


def test_evidence_of_signals_worked_out_by_hand():
    # 93 values of equal products are 3 places of 31 px; at the ends windows reach outside, so that
    # the sum of each window falls to about half there: a little fewer places.
    flat = np.full(93, 1 / 93)
    expected = -0.5 * 3 * np.log(1 - 0.8**2)
    assert evidence(flat, 0.8, 31) == pytest.approx(expected, rel=0.1)
    # All products in one value: the window sees it from 31 places, which are one.
    single = np.zeros(93)
    single[40] = 1
    assert evidence(single, 0.8, 31) == pytest.approx(expected / 3)
    assert evidence(flat, -0.8, 31) == 0 and evidence(flat, 1.0, 31) == evidence(flat, 0.99, 31)
    assert window_of(256) == 31 and window_of(1000) == 63


def test_evidence_of_brightness_worked_out_by_hand():
    one = Border(np.zeros(4), 10.0, 100.0, 20.0)
    # Equal counts as a difference of 5 %: ln 10 for each of contrast and level.
    assert brightness_evidence(one, one) == pytest.approx(2 * np.log(10))
    # Twice the contrast is ln 2 > 0.5 apart: nothing. 4 gray values of 20 are 20 %: ln 2.5.
    other = one._replace(strength=20.0, level=104.0)
    assert brightness_evidence(one, other) == pytest.approx(np.log(2.5))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12))
@settings(max_examples=50, deadline=None)
def test_fields_are_the_connected_images(ends):
    pairs = [Pair("below", str(one), str(other), 1.0, 9.0) for one, other in ends]
    some = fields_of(pairs)
    of = {name: number for number, ids in enumerate(some) for name in ids}
    assert sum(map(len, some)) == len(of) == len({str(end) for pair in ends for end in pair})
    assert all(of[str(one)] == of[str(other)] for one, other in ends)
    # No fewer links than a tree of each field has.
    assert sum(len(ids) - 1 for ids in some) <= len({frozenset(pair) for pair in ends})
    assert some == sorted(map(sorted, some)) == fields_of(reversed(pairs))


@pytest.fixture(scope="module")
def tissue():
    """Every other image of Kumar's; experiments/fields has all."""
    source = Kumar(place("kumar"))
    return {image_id: source.read(image_id).image for image_id in list(source.groups())[::2]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("gap", "noise", "contrast", "least"),
    [(0, 0, 0, 1.0), (0, 15, 0.2, 0.95), (1, 0, 0, 0.95)],
)
def test_tiles_of_tissue_are_put_together(gap, noise, contrast, least, tissue):
    change = noisy(np.random.default_rng(0), contrast, noise)
    looks, truth = {}, set()
    for image_id, image in tissue.items():
        some, pairs = mosaic(image_id, image, 240, change, gap)
        looks, truth = looks | some, truth | pairs
    right = found(looks)
    assert right <= truth and len(right) >= least * len(truth)


@pytest.mark.slow
def test_the_table_of_bbbc038_is_what_is_found():
    source = BBBC038(place("bbbc038"), group="360x360")
    ids = [image_id for some in source.splits().values() for image_id in some]
    some = fields_of(find_pairs({i: look_at(source.read(i).image) for i in ids}))
    table = {i: field for i, field in known_fields().items() if i in set(ids)}
    assert len(some) == len(set(table.values())) == 12 and len(table) == 90
    for images in some:
        assert len({table[i] for i in images}) == 1
