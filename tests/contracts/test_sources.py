"""What every data set of `conf/data` must do: a new one is tested by being there.

Each is built as a training builds it, on tiny files in the layout in which it is published.
"""

import pickle
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from support import layouts
from support.areas import check_area

from nucleist.config.build import build
from nucleist.config.compose import compose
from nucleist.data.caches import InMemory, Prepared
from nucleist.types import Source, UserError

CONF = Path(__file__).parents[2] / "src" / "nucleist" / "conf" / "data"
NAMES = sorted(path.stem for path in CONF.glob("*.yaml") if path.stem != "base")

# What writes the files of a data set, in the folder of its own name below data_root.
LAYOUTS = {
    "bbbc038": layouts.bbbc038,
    "bbbc038_patches": layouts.bbbc038,
    "bbbc360": layouts.bbbc038,
    "dh100": layouts.dh100,
    "dh25": layouts.dh100,
    "dh25crop": layouts.dh100,
    "folder": layouts.folder,
    "kumar": layouts.kumar,
    "synthetic": None,  # drawn
    "tnbc": layouts.tnbc,
}

# Settings with which tiny files are enough.
SETTINGS = {
    "bbbc038_patches": ["data.source.size=16"],
    "bbbc360": ["data.source.group=24x24", "data.source.train=3"],
    "folder": ["data.source.root=${data_root}/folder"],
    "synthetic": [
        *("data.source.n_train=3", "data.source.n_test=2", "data.source.size=[48,48]"),
        *("data.source.count=[2,4]", "data.source.radius=[4,6]"),
    ],
}


@lru_cache
def config(name, root):
    """The composed `data` of a training on a data set below a folder."""
    words = [f"data={name}", f"data_root={root}", *SETTINGS.get(name, ())]
    return compose("train", [*words, "steps=1", "data.batch_size=2", "augment.crop=null"]).data


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The files of all data sets."""
    root = tmp_path_factory.mktemp("sets")
    for layout in {layout for layout in LAYOUTS.values() if layout}:
        layout(root / layout.__name__)
    return root


def same(one, other):
    for array, twin in ((one.image, other.image), (one.labels, other.labels)):
        assert array.dtype == twin.dtype
        np.testing.assert_array_equal(array, twin)
    assert (one.id, one.notes, one.complete) == (other.id, other.notes, other.complete)


def test_every_data_set_has_a_layout():
    assert set(NAMES) == set(LAYOUTS), "write a tiny layout of it in tests/support/layouts.py"


@pytest.mark.parametrize("name", NAMES)
class TestSource:
    """The contract of `nucleist.types.Source`."""

    @pytest.fixture
    def source(self, name, root):
        return build(config(name, root).source)

    def test_splits_are_fixed_and_disjoint(self, source, name, root):
        assert isinstance(source, Source)
        splits = source.splits()
        assert {"train", "test"} <= splits.keys() and splits["train"] and splits["test"]
        ids = [image_id for some in splits.values() for image_id in some]
        assert len(ids) == len(set(ids)) and all(isinstance(i, str) for i in ids)
        again = build(config(name, root).source).splits()
        assert again == splits == source.splits() and list(again) == list(splits)

    def test_every_image_has_a_group(self, source):
        ids = {image_id for some in source.splits().values() for image_id in some}
        groups = source.groups()
        assert ids <= set(groups) and all(isinstance(name, str) for name in groups.values())
        assert groups == source.groups()
        # Of nothing that is known to belong together, each image is alone.
        assert source.grouped or all(groups[image_id] == image_id for image_id in ids)

    def test_a_record_is_an_image_and_its_label_map(self, source):
        for split, ids in source.splits().items():
            record = source.read(ids[0])
            height, width, channels = record.image.shape
            assert record.id == ids[0] and channels == 3
            assert record.image.dtype in (np.uint8, np.uint16, np.float32)
            assert record.labels.shape == (height, width) and record.labels.dtype == np.int32
            assert record.labels.min() >= 0
            assert record.labels.any() or split not in ("train", "test")
            assert all(isinstance(note, str) for note in record.notes)
            same(source.read(ids[0]), record)

    def test_published_images_are_complete_and_a_folder_is_not(self, source, name):
        for ids in source.splits().values():
            for record in map(source.read, ids):
                check_area(record.complete, record.labels.shape)
                assert record.complete is (name != "folder")

    def test_workers_of_a_loader_read_the_same(self, source):
        first = source.splits()["train"][0]
        before = source.read(first)
        same(pickle.loads(pickle.dumps(source)).read(first), before)

    def test_an_unknown_image_is_told_in_one_line(self, source):
        with pytest.raises(UserError, match=r"no-such-image[^\n]*;[^\n]*$"):
            source.read("no-such-image")

    def test_a_missing_root_is_one_line_with_a_remedy(self, name, tmp_path):
        if LAYOUTS[name] is None:
            pytest.skip("needs no files")
        words = compose("train", [f"data={name}", f"data_root={tmp_path}"]).data.source
        with pytest.raises(UserError, match=r"data\.source\.root=[^\n]*$"):
            build(words).splits()

    def test_problems_and_pairing_are_text(self, source):
        assert all(isinstance(line, str) for line in source.problems())
        assert isinstance(source.describe_pairing(), str)

    def test_caches_change_nothing(self, source, tmp_path):
        ids = [i for some in source.splits().values() for i in some]
        for cached in (Prepared(source, tmp_path), InMemory(source)):
            assert cached.splits() == source.splits()
            assert cached.problems() == source.problems()
            assert (cached.groups(), cached.grouped) == (source.groups(), source.grouped)
            assert cached.describe_pairing() == source.describe_pairing()
            for image_id in ids[:3]:
                before = source.read(image_id)
                same(cached.read(image_id), before)
                same(cached.read(image_id), before)  # from the files, from memory

    def test_a_data_module_trains_and_evaluates_on_it(self, name, root):
        data = build(config(name, root))
        ((images, targets, ids),) = data.train_dataloader()
        assert len(images) == len(targets) == 2 and set(ids) <= set(data.ids("train"))
        for image, target in zip(images, targets, strict=True):
            assert image.dtype == torch.float32 and image.shape[0] == 3
            assert target["label_map"].shape == image.shape[1:]
            assert len(target["boxes"]) == target["label_map"].max()
        ((image,), (truth,), ids) = next(iter(data.test_dataloader()))
        assert ids == data.ids("test")[:1] and truth.labels.shape == image.shape[1:]
        if name == "folder":  # complete nowhere, as its owner says nothing of it
            assert truth.complete.shape == image.shape[1:] and not truth.complete.any()
        else:
            assert truth.complete is None
