"""The real archives, counted: they are read in place, never unpacked."""

import numpy as np
import pytest
from support.real import place

from nucleist.data.readers.bbbc038 import BBBC038
from nucleist.data.readers.kumar import Kumar

pytestmark = pytest.mark.slow


def test_bbbc360_is_90_images_with_2131_nuclei() -> None:
    source = BBBC038(place("bbbc038"), group="360x360", train=60)
    splits = source.splits()
    assert {name: len(ids) for name, ids in splits.items()} == {"train": 60, "test": 30}
    ids = splits["train"] + splits["test"]
    order = np.random.default_rng(0).permutation(90)
    assert set(splits["test"]) == {sorted(ids)[i] for i in order[60:]}
    count = 0
    for image_id in ids:
        record = source.read(image_id)
        assert record.image.shape == (360, 360, 3) and record.image.dtype == np.uint8
        assert record.labels.shape == (360, 360)
        count += len(np.unique(record.labels)) - 1
    assert count == 2131


def test_bbbc038_groups_are_those_of_the_published_files() -> None:
    root = place("bbbc038")

    def count(group: str | None) -> int:
        return sum(len(ids) for ids in BBBC038(root, group=group).splits().values())

    assert count(None) == 664
    assert (count("256x320-color"), count("256x320-gray")) == (107, 4)


def test_kumar_has_7_training_and_6_test_images() -> None:
    source = Kumar(place("kumar"))
    splits = source.splits()
    assert {name: len(ids) for name, ids in splits.items()} == {"train": 7, "test": 6}
    # The file of this image lists 329 regions, of which one is a slip of the mouse.
    record = source.read("TCGA-E2-A1B5-01Z-00-DX1")
    assert record.image.shape == (1000, 1000, 3) and record.image.dtype == np.uint8
    assert len(np.unique(record.labels)) - 1 == 328
    assert "region 460 encloses no area and was left out" in record.notes
