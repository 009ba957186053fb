"""Labelled nuclei pasted into training images."""

import numpy as np

from nucleist.data.annotation import Annotation
from nucleist.data.module import PartialSet
from nucleist.data.paste import exemplars, paste
from nucleist.data.readers.synthetic import Synthetic
from nucleist.data.transforms import light
from nucleist.ops.normalize import FullRange


def drawn() -> tuple[np.ndarray, np.ndarray]:
    """A dark 40 x 40 image with nucleus 3 (bright, 5 x 7) inside and nucleus 9 at the border."""
    image = np.zeros((40, 40, 3), np.float32)
    labels = np.zeros((40, 40), np.int32)
    labels[10:15, 20:27], labels[:4, :4] = 3, 9
    image[labels > 0] = 0.8
    return image, labels


def test_nuclei_that_the_border_cuts_are_no_exemplars():
    (found,) = exemplars([drawn()])
    assert found.mask.shape == (9, 11) and found.mask.sum() == 35
    assert (found.image[found.mask] == np.float32(0.8)).all()


def test_pasted_nuclei_are_labelled_whole_and_disjoint():
    image, labels = drawn()
    pool = exemplars([(image, labels)])
    for seed in range(30):
        new_image, new_labels = paste(image, labels, pool, 6, np.random.default_rng(seed))
        for number in (3, 9):  # what was labelled keeps every pixel
            assert ((new_labels == number) == (labels == number)).all()
        ids = [n for n in np.unique(new_labels) if n not in (0, 3, 9)]
        assert ids == list(range(10, 10 + len(ids)))
        for number in ids:
            inside = new_labels == number
            rows, cols = np.nonzero(inside)
            sides = sorted((np.ptp(rows) + 1, np.ptp(cols) + 1))
            cut = {0, 39} & {*rows, *cols}
            assert cut or (sides == [5, 7] and inside.sum() == 35)
        np.testing.assert_allclose(new_image[new_labels > 9], 0.8)
        assert new_image.min() >= 0 and new_image.max() <= np.float32(0.8)
    assert (image == drawn()[0]).all() and (labels == drawn()[1]).all()


def test_their_number_is_uniform_up_to_the_most():
    image, labels = np.zeros((400, 400, 3), np.float32), np.zeros((400, 400), np.int32)
    pool = exemplars([drawn()])
    counts = [
        paste(image, labels, pool, 3, np.random.default_rng(seed))[1].max() for seed in range(200)
    ]
    assert np.bincount(counts).min() > 30  # 50 expected of each of 0, 1, 2, 3
    assert paste(image, labels, [], 3, np.random.default_rng(0))[1].max() == 0


def test_a_training_set_with_pasted_nuclei_repeats_and_shows_more():
    source = Synthetic(n_train=3, n_test=1, size=(96, 96), seed=0)
    ids = source.splits()["train"]

    def items(pasted: int) -> list[dict]:
        data = PartialSet(source, ids, Annotation(0.4), FullRange(), light(64), 0, pasted)
        return [data[draw] for draw in range(6)]

    plain, more, again = items(0), items(5), items(5)
    assert sum(len(t["boxes"]) for _, t, _ in more) > sum(len(t["boxes"]) for _, t, _ in plain)
    for (image, target, name), (same, other, called) in zip(more, again, strict=True):
        assert name == called and image.equal(same)
        assert target["label_map"].equal(other["label_map"])
