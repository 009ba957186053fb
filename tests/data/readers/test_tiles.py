"""Tiles of images: the grid, mirrored edges, splits by image, and what is read how often."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.areas import areas, check_area
from support.sources import InMemory, grid, make_data

from nucleist.data import Prepared, Tiles
from nucleist.data.complete import complete_of, mask_of
from nucleist.data.transforms import light
from nucleist.ops.normalize import FullRange
from nucleist.types import Record, Source, UserError

SHARES = {"train": 0.5, "val": 0.25, "test": 0.25}


class Counting(Source):
    """Images of given shapes with one 4-px nucleus in each corner; counts what is read."""

    def __init__(self, **shapes):
        self.shapes, self.reads = shapes, Counter()

    def splits(self):
        return {"train": [], "test": sorted(self.shapes)}

    def read(self, image_id):
        if image_id not in self.shapes:
            raise UserError(f"no image {image_id!r}; see the list")
        self.reads[image_id] += 1
        height, width = self.shapes[image_id]
        labels = np.zeros((height, width), np.int32)
        for i, corner in enumerate(np.ndindex(2, 2), 3):
            rows, cols = (slice(0, 4) if end == 0 else slice(-4, None) for end in corner)
            labels[rows, cols] = i
        rng = np.random.default_rng(height)
        image = rng.integers(0, 256, (height, width, 3), np.uint8)
        return Record(image_id, image, labels, ("a note",))


def test_tiles_cover_every_pixel_and_the_last_is_moved_inward():
    source = Counting(a=(70, 64))
    found = Tiles(source, size=32)
    # 70 rows: 0, 32 and 70 - 32 = 38; 64 columns: 0 and 32
    ids = [f"a@{row},{col}" for row in (0, 32, 38) for col in (0, 32)]
    assert found.splits() == {"train": [], "test": ids}
    whole, seen = source.read("a"), np.zeros((70, 64), int)
    for name in ids:
        row, col = map(int, name.removeprefix("a@").split(","))
        tile = found.read(name)
        window = np.s_[row : row + 32, col : col + 32]
        assert tile.id == name and tile.image.shape == (32, 32, 3)
        assert (tile.image == whole.image[window]).all()
        assert (tile.labels == whole.labels[window]).all() and tile.labels.dtype == np.int32
        seen[window] += 1
    assert seen.min() == 1 and (seen[38:64] == 2).all()


def test_an_image_is_read_once_for_its_size_and_once_for_all_its_tiles():
    source = Counting(a=(64, 64), b=(64, 64), c=(64, 64))
    found = Tiles(source, size=16)
    ids = found.splits()["test"]
    assert len(ids) == 48 and max(source.reads.values()) == 1
    for name in ids:
        found.read(name)
    assert max(source.reads.values()) <= 2
    found.splits()
    assert max(source.reads.values()) <= 2


def test_a_tile_does_not_hold_its_image_in_memory():
    found = Tiles(Counting(a=(64, 64)), size=16)
    tile = found.read("a@16,16")
    assert tile.image.base is None and tile.labels.base is None


def test_a_small_image_is_mirrored_with_its_nuclei():
    # 5 x 6 px in a tile of 9: rows 0..4 go on as 3, 2, 1, 0 and columns 0..5 as 4, 3, 2.
    # Nucleus 1 is one pixel inside, nucleus 2 lies at the lower edge.
    labels = np.zeros((5, 6), np.int32)
    labels[1, 1] = 1
    labels[4, 2:4] = 2
    found = Tiles(InMemory([], [labels]), size=9)
    (name,) = found.splits()["test"]
    assert name == "test-0@0,0"
    tile = found.read(name)
    assert tile.image.shape == (9, 9, 3)
    assert (tile.image[5:, :6] == tile.image[3::-1, :6]).all()
    assert (tile.image[:, 6:] == tile.image[:, 4:1:-1]).all()
    # Of nucleus 1 there is a copy below: row 4 + 3 = 7. Column 1 is not among the mirrored
    # columns 4, 3, 2. A copy that touches nothing is a nucleus of its own.
    assert tile.labels[1, 1] == 1 and tile.labels[7, 1] > 2
    # Nucleus 2 has row 4 alone, where the mirror stands; its columns come again as 7 and 8
    # (3 and 2), after a gap at 4 to 6, so that copy is another nucleus.
    assert (tile.labels[4, 2:4] == 2).all()
    assert tile.labels[4, 7] == tile.labels[4, 8] > 2
    assert len(np.unique(tile.labels)) == 1 + 4 and (tile.labels > 0).sum() == 1 + 1 + 2 + 2


def test_a_nucleus_at_a_mirrored_edge_goes_on_as_one():
    # Rows 3 and 4 of 5, so 5 and 6 mirror 3 and 2: rows 3, 4, 5 are one nucleus.
    labels = np.zeros((5, 8), np.int32)
    labels[3:5, 2:4] = 7
    found = Tiles(InMemory([], [labels]), size=8)
    tile = found.read("test-0@0,0")
    expected = np.zeros((8, 8), np.int32)
    expected[3:6, 2:4] = 7
    assert (tile.labels == expected).all()


class One(Source):
    """One test image of random labels and an area."""

    def __init__(self, shape, complete):
        labels = np.zeros(shape, np.int32)
        labels[1:3, 1:3] = 1
        self.record = Record("a", np.zeros((*shape, 3), np.uint8), labels, (), complete)

    def splits(self):
        return {"train": ["a"], "test": ["a"]}

    def read(self, image_id):
        return self.record


@given(areas((9, 7)), st.sampled_from([3, 5, 7]))
@settings(max_examples=30, deadline=None)
def test_a_tile_is_complete_where_its_image_is(area, size):
    found, mask = Tiles(One((9, 7), area), size), mask_of(area, (9, 7))
    assert found.read("a").complete == area  # a training image, whole
    for name in found.splits()["test"]:
        row, col = map(int, name.removeprefix("a@").split(","))
        complete = found.read(name).complete
        check_area(complete, (size, size))
        assert complete == complete_of(mask[row : row + size, col : col + size])


@given(areas((4, 6)), st.sampled_from([6, 8, 20]))
@settings(max_examples=30, deadline=None)
def test_what_is_mirrored_is_complete_where_its_pixel_is(area, size):
    tile = Tiles(One((4, 6), area), size).read("a@0,0")
    check_area(tile.complete, (size, size))
    mask, wide = mask_of(area, (4, 6)), mask_of(tile.complete, (size, size))
    for row in range(size):
        for col in range(size):
            # 0 1 2 3 2 1 0 1 ...: a way of period 2 (n - 1) there and back.
            y, x = row % 6, col % 10
            assert wide[row, col] == mask[min(y, 6 - y), min(x, 10 - x)]


def test_a_published_nucleus_in_two_pieces_stays_one():
    labels = np.zeros((6, 6), np.int32)
    labels[0, 0] = labels[0, 3] = 5
    tile = Tiles(InMemory([], [labels]), size=8).read("test-0@0,0")
    assert tile.labels[0, 0] == tile.labels[0, 3] == 5


def maps(count):
    return [grid(1, 2, shape=(40, 48))] * count


def images_of(ids):
    return {name.rpartition("@")[0] or name for name in ids}


def test_splits_are_by_image_seeded_and_of_the_asked_sizes():
    source = InMemory(maps(30), maps(10))
    parts = {}
    for seed in (0, 1):
        found = Tiles(source, 24, SHARES, seed=seed).splits()
        assert found == Tiles(source, 24, SHARES, seed=seed).splits()
        parts[seed] = {name: images_of(ids) for name, ids in found.items()}
        assert {name: len(ids) for name, ids in parts[seed].items()} == {
            "train": 20, "val": 10, "test": 10,
        }  # fmt: skip
        assert len(set().union(*parts[seed].values())) == 40
        assert found["train"] == sorted(parts[seed]["train"])  # whole images
        assert len(found["val"]) == 10 * 4  # 40 x 48 px: 2 x 2 tiles of 24
    assert parts[0] != parts[1]


def test_every_split_of_a_few_images_has_one():
    shares = {"train": 0.8, "val": 0.08, "test": 0.12}
    found = Tiles(InMemory(maps(5)), 128, shares).splits()
    assert [len(found[name]) for name in ("train", "val", "test")] == [3, 1, 1]
    with pytest.raises(UserError, match=r"2 images are too few; use 3 or more"):
        Tiles(InMemory(maps(2)), 128, shares).splits()


def test_own_splits_are_kept_without_shares():
    found = Tiles(InMemory(maps(3), maps(2)), 24).splits()
    assert found["train"] == ["train-0", "train-1", "train-2"]
    assert images_of(found["test"]) == {"test-0", "test-1"}


def test_fewer_images_and_fewer_tiles():
    source = InMemory(maps(30), maps(10))
    every = Tiles(source, 24, SHARES).splits()
    few = Tiles(source, 24, SHARES, images=8).splits()
    assert [len(images_of(ids)) for ids in few.values()] == [4, 2, 2]
    some = Tiles(source, 24, SHARES, tiles={"val": 7, "test": None}).splits()
    assert len(some["val"]) == 7 and some["test"] == every["test"]
    assert [name for name in every["val"] if name in some["val"]] == some["val"]  # in their order
    assert len(images_of(some["val"])) > 2  # of many images, not the tiles of the first
    own = Tiles(source, 24, images=5).splits()
    assert sum(len(images_of(ids)) for ids in own.values()) == 5


def test_training_takes_crops_of_whole_images_and_evaluation_tiles():
    source = Tiles(InMemory(maps(4), maps(4)), 24, SHARES)
    augment, splits = light(crop=24, focus=0.0), {"val": "val"}
    data = make_data(source, augment, FullRange(), splits=splits, supervision="binary", steps=1)
    images, targets, names = next(iter(data.train_dataloader()))
    assert {tuple(image.shape) for image in images} == {(3, 24, 24)}
    assert all("@" not in name for name in names)
    assert {tuple(target["mask"].shape) for target in targets} == {(24, 24)}
    shown = [(name, truth.labels.shape) for _, (truth,), (name,) in data.val_dataloader()]
    assert len(shown) == 2 * 4 and all("@" in name and size == (24, 24) for name, size in shown)
    assert images_of(data.ids("train")).isdisjoint(images_of(data.ids("test")))


def test_tiles_of_another_size_have_a_cache_of_their_own(tmp_path):
    small, large = (Prepared(Tiles(InMemory(maps(4)), size), tmp_path) for size in (16, 24))
    assert small.folder != large.folder


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"size": 0}, "data.source.size=0"),
        ({"images": -1}, "data.source.images=-1"),
        ({"tiles": {"val": 0}}, "data.source.tiles.val=0"),
        ({"splits": {"train": 0.5, "test": 0.4}}, "sum 1"),
        ({"splits": {"train": 1.5, "test": -0.5}}, "positive shares"),
        ({"splits": {}}, "positive shares"),
    ],
)
def test_bad_options_are_told_in_one_line(options, told):
    with pytest.raises(UserError, match=told):
        Tiles(InMemory(maps(2)), **options)


def test_unknown_ids_and_splits_are_refused():
    found = Tiles(Counting(a=(64, 64)), size=32)
    for name in ("b", "a@5,5", "b@0,0"):
        with pytest.raises(UserError, match="no image"):
            found.read(name)
    with pytest.raises(UserError, match=r"tiles.valid: no such split; there is train, test"):
        Tiles(Counting(a=(64, 64)), tiles={"valid": 3}).splits()
