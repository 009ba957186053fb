"""The near-duplicate test: what counts as the same image, and where it is looked for."""

import numpy as np
import pytest

from nucleist.data.borders import block_means
from nucleist.data.fields import ALIKE
from nucleist.data.problems import examine
from nucleist.data.readers.synthetic import Synthetic
from nucleist.types import Record, Source


class Given(Source):
    """A data set of images in memory, one nucleus each."""

    def __init__(self, **splits):
        self.images = {f"{s}{i}": im for s, ims in splits.items() for i, im in enumerate(ims)}
        self.names = {s: [f"{s}{i}" for i in range(len(ims))] for s, ims in splits.items()}

    def splits(self):
        return self.names

    def read(self, image_id):
        image = self.images[image_id]
        return Record(image_id, image, np.ones(image.shape[:2], np.int32))


def nuclei(number, size=(96, 80)):
    return Synthetic(size=size).read(f"synthetic-train-{number:04d}").image


def test_block_means_of_an_image():
    # 64 x 64 in 2 x 2 blocks; the left half is brighter: +1 and -1 over sqrt(1024) = 32.
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, :32] = 200
    expected = np.repeat(np.where(np.arange(32) < 16, 1 / 32, -1 / 32)[None], 32, 0).ravel()
    np.testing.assert_allclose(block_means(image), expected, atol=1e-6)
    # Brightness, offset, size and number type change nothing.
    other = np.repeat(np.repeat(image, 3, 0), 2, 1).astype(np.float32) * 0.1 + 7
    np.testing.assert_allclose(block_means(other), expected, atol=1e-6)
    assert not block_means(np.full((50, 40, 3), 65_535, np.uint16)).any()


@pytest.mark.parametrize("change", ["same", "dim", "noise"])
def test_images_of_two_splits_that_show_the_same_are_told(change):
    rng = np.random.default_rng(0)
    image = nuclei(1)
    again = {
        "same": image,
        "dim": (image * 0.5).astype(np.uint8),
        "noise": (image + rng.normal(0, 8, image.shape)).clip(0, 255).astype(np.uint8),
    }[change]
    report = examine(Given(train=[nuclei(0), image], test=[nuclei(2), again]))
    assert len(report.warnings) == 1 and not report.errors
    what = "has the same pixels as" if change == "same" else "shows nearly the same as"
    assert f"test/test1: {what} train/train1" in report.warnings[0]
    assert report.counts == {"train": (2, 2), "test": (2, 2)}


def test_other_images_one_split_and_blank_images_are_not_told():
    blank = np.full((60, 60, 3), 255, np.uint8)
    drawn = [nuclei(i) for i in range(8)]
    source = Given(train=[*drawn[:5], drawn[0], blank], test=[*drawn[5:], blank])
    assert examine(source).warnings == []
    prints = np.stack([block_means(image) for image in drawn])
    assert np.abs(prints @ prints.T - np.eye(8)).max() < ALIKE - 0.2


def test_an_image_in_two_splits_is_told():
    source = Given(train=[nuclei(0)], test=[nuclei(1)])
    source.names["test"].append("train0")
    assert examine(source).warnings == ["test/train0: is in train too; keep one of them"]
