"""Synthetic nuclei: seeded per index, exact labels, and every option does what it says."""

import time

import numpy as np
import pytest
from scipy import ndimage

from nucleist.data.readers.blobs import cover, line, split
from nucleist.data.readers.synthetic import Synthetic
from nucleist.types import UserError

SMALL = {"size": (64, 64), "radius": (5, 7), "count": (4, 8)}
CLEAN = {
    "artefacts": (0, 0),
    "blur": (0, 0),
    "noise": (0, 0),
    "shading": 0.0,
    "texture": 0.0,
    "background": (0.1, 0.1),
    "brightness": (0.5, 0.5),
    "exposure": (1, 1),
    "gamma": (1, 1),
}


def same(a, b):
    return np.array_equal(a.image, b.image) and np.array_equal(a.labels, b.labels)


def test_splits_and_ids():
    source = Synthetic(n_train=3, n_test=2, **SMALL)
    assert source.splits() == {
        "train": [f"synthetic-train-000{i}" for i in range(3)],
        "test": ["synthetic-test-0000", "synthetic-test-0001"],
    }
    assert Synthetic(n_train=1, n_test=0).splits() == {
        "train": ["synthetic-train-0000"],
        "test": [],
    }


def test_an_image_depends_on_seed_split_and_index_only():
    few, many = Synthetic(n_train=2, n_test=2, **SMALL), Synthetic(n_train=9, n_test=5, **SMALL)
    ids = [*few.splits()["train"], *few.splits()["test"]]
    images = {image_id: few.read(image_id) for image_id in ids}
    for image_id in reversed(ids):
        assert same(many.read(image_id), images[image_id])
    assert len({record.image.tobytes() for record in images.values()}) == 4
    other = Synthetic(n_train=2, n_test=2, seed=1, **SMALL)
    assert not same(other.read(ids[0]), images[ids[0]])


@pytest.mark.parametrize("overlap", [0.0, 1.0])
def test_records_are_well_formed(overlap):
    source = Synthetic(n_train=12, n_test=0, overlap=overlap, **SMALL)
    for image_id in source.splits()["train"]:
        record = source.read(image_id)
        labels, n = record.labels, int(record.labels.max())
        assert record.id == image_id
        assert record.image.shape == (64, 64, 3) and record.image.dtype == np.uint8
        assert (record.image == record.image[..., :1]).all()
        assert labels.shape == (64, 64) and labels.dtype == np.int32
        assert np.unique(labels).tolist() == list(range(n + 1)) and 1 <= n <= 8
        for nucleus in range(1, n + 1):
            assert ndimage.label(labels == nucleus)[1] == 1


def test_labels_are_where_the_light_is():
    # Without blur, noise and artefacts the background is 0.1 * 255 = 25.5 and a nucleus 127.5
    # more; edge pixels are covered in part and labelled from one half: 25.5 + 63.75 = 89.25.
    # One nucleus, for the edge pixels of two neighbours would add up.
    source = Synthetic(n_train=6, n_test=0, **{**SMALL, "count": (1, 1)}, **CLEAN)
    for image_id in source.splits()["train"]:
        record = source.read(image_id)
        gray = record.image[..., 0]  # 89 itself may be either, for it is rounded
        assert (record.labels > 0)[gray > 89].all() and not record.labels[gray < 89].any()


def test_nuclei_apart_unless_asked_to_overlap():
    def touching(overlap):
        source = Synthetic(n_train=8, n_test=0, overlap=overlap, **SMALL)
        count = 0
        for image_id in source.splits()["train"]:
            labels = source.read(image_id).labels
            for a, b in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
                count += int(np.count_nonzero((a != b) & (a > 0) & (b > 0)))
        return count

    apart, clustered = touching(0.0), touching(1.0)
    assert clustered > 100 > apart  # neighbours may meet edge to edge by chance


def test_radius_is_that_of_the_area():
    # Area pi r^2 whatever the elongation; a little off for the roughness and whole pixels.
    source = Synthetic(
        n_train=5, n_test=0, size=(160, 160), radius=(12, 12), spread=0, count=(5, 5), overlap=0
    )
    radii = []
    for image_id in source.splits()["train"]:
        labels = source.read(image_id).labels
        inner = set(range(1, 6)) - set(labels[[0, -1]].ravel()) - set(labels[:, [0, -1]].ravel())
        radii += [np.sqrt((labels == i).sum() / np.pi) for i in inner]
    assert len(radii) > 5
    assert np.mean(radii) == pytest.approx(12, rel=0.04)


def test_size_range_count_and_coverage():
    source = Synthetic(n_train=8, n_test=0, size=((48, 64), (64, 80)), radius=(4, 6), count=(3, 5))
    records = [source.read(image_id) for image_id in source.splits()["train"]]
    assert len({record.labels.shape for record in records}) > 1
    for record in records:
        assert 48 <= record.labels.shape[0] <= 64 <= record.labels.shape[1] <= 80
        assert 1 <= record.labels.max() <= 5
    covered = Synthetic(
        n_train=4, n_test=0, size=(128, 128), radius=(5, 6), count=None, coverage=(0.2, 0.2)
    )
    for image_id in covered.splits()["train"]:
        assert 0.1 < (covered.read(image_id).labels > 0).mean() < 0.25


def test_artefacts_are_background():
    dark = {**CLEAN, "brightness": (0, 0), "artefacts": (4, 4), "artefact_brightness": (0.5, 0.5)}
    record = Synthetic(n_train=1, n_test=0, **SMALL, **dark).read("synthetic-train-0000")
    assert (record.image[..., 0] > 60).sum() > 20  # nothing shines but artefacts
    without = Synthetic(n_train=1, n_test=0, **SMALL, **{**dark, "artefacts": (0, 0)})
    np.testing.assert_array_equal(record.labels, without.read("synthetic-train-0000").labels)


def test_photon_noise_grows_with_light():
    # 100 photons at full scale: variance of a level v is v / 100, so 0.6 / 0.1 = 6 times more.
    source = Synthetic(n_train=1, n_test=0, **{**SMALL, "size": (128, 128)}, **CLEAN)
    noisy = Synthetic(
        n_train=1, n_test=0, photons=(100, 100), **{**SMALL, "size": (128, 128)}, **CLEAN
    )
    clean, grain = (s.read("synthetic-train-0000").image[..., 0] / 255 for s in (source, noisy))
    variances = [
        grain[np.isclose(clean, level, atol=0.01)].var() * 100 / level for level in (0.1, 0.6)
    ]
    assert variances == pytest.approx([1, 1], abs=0.25)


def test_fast_enough():  # of processor time, for the machine may be busy
    source = Synthetic(n_train=4, n_test=0, size=(256, 256), count=(30, 30))
    best = np.inf
    for image_id in source.splits()["train"]:
        start = time.process_time()
        source.read(image_id)
        best = min(best, time.process_time() - start)
    assert best < 0.1


def test_cover_of_a_disc():
    # A disc of radius 5 around (10, 10), the middle of a pixel: the pixel at 5 px is half in.
    window, covers = cover(np.full(65, 5.0), np.array([10.0, 10.0]), (20, 20))
    full = np.zeros((20, 20))
    full[window] = covers
    assert full[10, 10] == full[10, 14] == 1
    assert full[10, 15] == full[5, 10] == pytest.approx(0.5)
    assert full[10, 16] == 0
    assert full.sum() == pytest.approx(np.pi * 25, rel=0.01)


def test_cover_is_cut_at_the_border():
    window, covers = cover(np.full(65, 5.0), np.array([0.0, 19.4]), (20, 20))
    assert covers.shape == (window[0].stop, 20 - window[1].start)
    assert window[0].start == 0 and window[1].stop == 20


def test_line_of_known_width():
    covers = line(np.array([[10.0, 5.0], [10.0, 15.0]]), 3.0, (20, 20))
    assert covers[8:13, 10].tolist() == [0, 1, 1, 1, 0]
    assert covers[10, 2:6].tolist() == [0, 0, 1, 1]  # half its width beyond its end


def test_split_divides_a_shared_strip_in_the_middle():
    # Two 11 x 12 rectangles side by side share 4 columns: two go to each side.
    owner = np.zeros((15, 24), np.int32)
    owner[2:13, 2:10], owner[2:13, 10:14], owner[2:13, 14:22] = 1, -1, 2
    labels = split(owner)
    assert set(np.unique(labels[2:13, 2:10])) == {1} and set(np.unique(labels[2:13, 14:22])) == {2}
    assert (labels > 0).sum() == 11 * 20
    assert abs((labels == 1).sum() - (labels == 2).sum()) <= 22


def test_split_keeps_every_label_in_one_piece():
    # Nucleus 1 is cut in two by nucleus 2; the smaller left piece must not stay a second piece.
    owner = np.zeros((9, 30), np.int32)
    owner[2:7, 2:5], owner[2:7, 5:9], owner[2:7, 9:28] = 1, -1, 1
    owner[0:2, 5:9] = owner[7:9, 5:9] = 2
    labels = split(owner)
    for nucleus in (1, 2):
        assert ndimage.label(labels == nucleus)[1] == 1
    assert ((labels > 0) == (owner != 0)).all()


def test_unknown_image_is_told():
    source = Synthetic(n_train=2, n_test=1)
    for image_id in ("synthetic-train-0002", "synthetic-train-2", "synthetic-valid-0000", "x"):
        with pytest.raises(UserError, match="ids are like synthetic-train-0003"):
            source.read(image_id)


@pytest.mark.parametrize(
    "bad",
    [
        {"size": (8, 64)},
        {"size": (64,)},
        {"size": 64},
        {"n_train": -1},
        {"seed": -1},
        {"radius": (9, 5)},
        {"radius": (0, 5)},
        {"radius": 5},
        {"count": (5, 3)},
        {"noise": (-0.1, 0)},
        {"elongation": 0.5},
        {"overlap": 1.5},
        {"spread": 1},
        {"n_train": "many"},
    ],
)
def test_bad_values_are_told_in_one_line(bad):
    with pytest.raises(UserError, match=r"^synthetic: ") as told:
        Synthetic(**bad)
    assert "\n" not in str(told.value)
