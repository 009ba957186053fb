"""Small sources and data modules that several tests share."""

import numpy as np

from nucleist.data.module import NucleiData
from nucleist.data.readers.synthetic import Synthetic
from nucleist.data.transforms import Augment
from nucleist.ops.normalize import Percentile
from nucleist.types import Record, Source


class InMemory(Source):
    """A source of given label maps; the images show what they are of."""

    def __init__(self, train, test=()):
        self.records = {}
        self.ids = {"train": [], "test": []}
        for split, maps in (("train", train), ("test", test)):
            for i, labels in enumerate(maps):
                name = f"{split}-{i}"
                image = np.repeat(((labels > 0) * 100 + 20)[..., None], 3, 2).astype(np.uint8)
                self.ids[split].append(name)
                self.records[name] = Record(name, image, labels)

    def splits(self):
        return self.ids

    def read(self, image_id):
        return self.records[image_id]


def grid(*ids, side=6, shape=(48, 64), gap=12):
    """Squares in rows of four, one for each id."""
    labels = np.zeros(shape, np.int32)
    for i, number in enumerate(ids):
        row, col = gap * (i // 4) + 2, gap * (i % 4) + 2
        labels[row : row + side, col : col + side] = number
    return labels


def synthetic(n_train=5, n_test=3):
    return Synthetic(n_train, n_test, size=(48, 64), radius=(4.0, 6.0), count=(6, 9))


def make_data(source=None, augment=None, normalize=None, **options):
    return NucleiData(
        source or synthetic(), normalize or Percentile(), augment or Augment(), **options
    )


def drain(loader):
    """Everything a loader shows, as comparable values."""
    return [
        (name, image.numpy().tobytes(), target["label_map"].numpy().tobytes())
        for images, targets, names in loader
        for image, target, name in zip(images, targets, names, strict=True)
    ]
