"""Splits of a folder: each image by itself, so that what is added moves nothing."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.layouts import pack, png, rgb, squares

from nucleist.data.readers.folder import Folder
from nucleist.data.readers.splitting import place_of, split_by_name

SHARES = {"test": 0.2, "val": 0.3}
NOTHING = frozenset()
names = st.lists(st.text(min_size=1), unique=True, max_size=30)


def split(found, shares=SHARES, seed=0, closed=NOTHING):
    return split_by_name({name: name for name in found}, shares, seed, closed)


def write(root, *images):
    for image in images:
        png(root / f"{image}.png", rgb(size=8))
        png(root / f"{image}_labels.png", squares()[4:12, 4:12].astype(np.uint16))


@pytest.mark.parametrize(("name", "seed"), [("a", 0), ("Zähler/é 1", 0), ("a", 7)])
def test_the_place_is_the_hash_of_seed_and_name(name, seed):
    bits = hashlib.sha256(json.dumps([seed, name]).encode()).hexdigest()
    place = place_of(name, seed)
    assert 0 <= place < 1
    # The first 53 bits, worked out with the digits of the hash.
    assert place == (int(bits[:14], 16) >> 3) / 2**53


@given(some=names, more=names, seed=st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_what_is_added_moves_nothing(some, more, seed):
    before, after = split(some, seed=seed), split({*some, *more}, seed=seed)
    for name in some:
        place = place_of(name, seed)
        wanted = "test" if place < 0.2 else "val" if place < 0.5 else "train"
        if wanted == "train" or any(place_of(one, seed) >= 0.5 for one in some):
            assert before[name] == after[name] == wanted
        else:  # all would be held back: that of the largest number trains
            assert (before[name] == "train") == (place == max(place_of(o, seed) for o in some))


def test_images_of_one_name_have_one_split():
    places = {f"f{number}": place_of(f"f{number}", 0) for number in range(99)}
    tests, trains = (min(places, key=lambda n: abs(places[n] - wanted)) for wanted in (0.1, 0.7))
    found = split_by_name({"a": trains, "b": tests, "c": tests}, SHARES, 0, NOTHING)
    assert found == {"a": "train", "b": "test", "c": "test"}
    # If nothing were left to train on, the whole group with the largest number trains.
    found = split_by_name({"b": tests, "c": tests}, SHARES, 0, NOTHING)
    assert found == {"b": "train", "c": "train"}


@given(some=names, closed=st.sets(st.sampled_from(["test", "val"])))
@settings(max_examples=20, deadline=None)
def test_closed_splits_get_nothing_and_the_other_is_the_same(some, closed):
    every, fewer = split([*some, "d"]), split([*some, "d"], closed=frozenset(closed))
    assert not closed & set(fewer.values())  # d has 0.86: it trains
    assert all(fewer[name] == (to if to not in closed else "train") for name, to in every.items())


def test_shares_are_about_what_was_asked_for():
    found = list(split([f"image {i}" for i in range(4000)]).values())
    # Standard deviations are sqrt(4000 * 0.2 * 0.8) = 25 and 29 images.
    assert abs(found.count("test") - 800) < 100 and abs(found.count("val") - 1200) < 115


def test_a_folder_that_grows(tmp_path):
    first = [f"image{i}" for i in range(12)]
    write(tmp_path, *first)
    before = Folder(tmp_path, val_fraction=0.2).splits()
    assert before == {
        "train": [name for name in sorted(first) if place_of(name, 0) >= 0.4],
        "val": ["image5", "image7"],  # 0.217 and 0.214
        "test": ["image2", "image4"],  # 0.070 and 0.043
    }
    # The second makes the ids of the first longer, which moves it no more than the others.
    write(tmp_path, "image12", "p1/image2", "p2/image5")
    after = Folder(tmp_path, val_fraction=0.2)
    moved = {one.image: one.id for one in after.pairing()}
    for name, ids in before.items():
        assert {moved[f"{image_id}.png"] for image_id in ids} <= set(after.splits()[name])
    assert len({str(Folder(tmp_path, seed=seed).splits()) for seed in range(5)}) > 1
    assert Folder(tmp_path, test_fraction=0).splits()["test"] == []


def test_neither_extension_nor_archive_nor_folders_of_kinds_matter(tmp_path):
    write(tmp_path / "flat", "c", "g", "p/c", "p/d")
    for name in ("c", "g", "p/c", "p/d"):
        png(tmp_path / "apart" / "images" / f"{name}.bmp", rgb(size=8))
        png(tmp_path / "apart" / "labels" / f"{name}.png", squares()[4:12, 4:12].astype(np.uint16))
    pack(tmp_path / "flat", tmp_path / "set.zip")
    roots = ("flat", "apart", "set.zip")
    flat, apart, packed = (Folder(tmp_path / root, seed=2).splits() for root in roots)
    assert flat == apart and flat["test"]
    # Two ids of the archive have its folder before them, and are sorted otherwise.
    for name, ids in packed.items():
        assert sorted(i.removeprefix("flat_") for i in ids) == flat[name]


def test_folders_are_the_last_word(tmp_path):
    write(tmp_path, "c", "d", "g", "test/x")  # c 0.17 and g 0.02 would test
    assert Folder(tmp_path).splits() == {"train": ["c", "d", "g"], "test": ["x"]}
    write(tmp_path, "val/y")
    both = Folder(tmp_path, test_fraction=0.1, val_fraction=0.5).splits()
    assert both == {"train": ["c", "d", "g"], "val": ["y"], "test": ["x"]}


def test_one_image_at_least_trains(tmp_path):
    write(tmp_path, "c", "g")
    assert Folder(tmp_path).splits() == {"train": ["c"], "test": ["g"]}
    write(tmp_path, "d")
    assert Folder(tmp_path).splits() == {"train": ["d"], "test": ["c", "g"]}


@pytest.mark.parametrize(
    ("options", "val"),
    [
        ({}, []),
        ({"complete": True}, ["image5", "image7"]),
        ({"complete": ["image0"]}, []),
        ({"complete": True, "val_fraction": 0}, []),
        ({"val_fraction": 0.015}, ["image7"]),
    ],
)
def test_images_validate_where_all_are_complete_or_if_asked_for(tmp_path, options, val):
    write(tmp_path, *(f"image{i}" for i in range(12)))
    assert Folder(tmp_path, **options).splits().get("val", []) == val
