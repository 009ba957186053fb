"""Augmentation: same seed, same result; image and labels together; windows where they belong."""

import albumentations as A
import numpy as np
import pytest

from nucleist.data.transforms import (
    Augment,
    check_hidden,
    flips,
    light,
    resized,
    strong,
    wide,
)
from nucleist.types import UserError

BIG = (300, 70_000, 2**24 - 1)
"""Ids beyond 8 and 16 bits; the last is the largest odd one that float32 holds."""


def make_pair(shape=(64, 48), ids=(1, 2, *BIG), seed=0):
    """Rectangles of 5 x 7 px that touch no border, and an image that tells every pixel apart."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.int32)
    for number in ids:
        row, col = rng.integers(1, shape[0] - 6), rng.integers(1, shape[1] - 8)
        labels[row : row + 5, col : col + 7] = number
    place = np.arange(labels.size, dtype=np.float32).reshape(shape) / labels.size
    return np.stack([place, labels > 0, place], 2).astype(np.float32), labels


AUGMENTS = {
    "none": Augment(),
    "flips": flips(),
    "light": light(),
    "strong": strong(),
    "stain": strong(stain=1.0),
    "crop": light(crop=32),
    "wide": wide(crop=32, diameters=None),
}


@pytest.mark.parametrize("name", AUGMENTS)
def test_the_same_seed_gives_the_same_pair(name):
    image, labels = make_pair()
    augment = AUGMENTS[name]
    first = [augment(image, labels, seed) for seed in range(4)]
    for seed in reversed(range(4)):  # whatever was drawn before
        again = augment(image, labels, seed)
        assert (again[0] == first[seed][0]).all() and (again[1] == first[seed][1]).all()
    if name != "none":
        assert any((first[0][0].shape != a[0].shape) or (first[0][0] != a[0]).any() for a in first)


@pytest.mark.parametrize("name", AUGMENTS)
def test_types_ranges_and_the_callers_arrays(name):
    image, labels = make_pair()
    before = image.copy(), labels.copy()
    for seed in range(6):
        new, mask = AUGMENTS[name](image, labels, seed)
        assert new.dtype == np.float32 and mask.dtype == np.int32
        assert new.shape == (*mask.shape, 3) and new.min() >= 0 and new.max() <= 1
    assert (image == before[0]).all() and (labels == before[1]).all()


@pytest.mark.parametrize("name", AUGMENTS)
def test_no_id_is_invented(name):
    image, labels = make_pair()
    seen = set()
    for seed in range(12):
        mask = AUGMENTS[name](image, labels, seed)[1]
        assert set(np.unique(mask)) <= {0, 1, 2, *BIG}
        seen |= set(np.unique(mask))
    assert seen == {0, *np.unique(labels)}


@pytest.mark.parametrize("name", ["flips", "light", "crop"])
def test_image_and_labels_move_together(name):
    image, labels = make_pair()
    for seed in range(8):
        new, mask = AUGMENTS[name](image, labels, seed)
        assert ((new[..., 1] > 0.5) == (mask > 0)).all()


def test_resampled_labels_stay_on_their_nuclei():
    image, labels = make_pair(ids=(BIG[2],))
    turn = Augment([A.Affine(rotate=(45, 45), scale=(1.3, 1.3), p=1.0)])
    new, mask = turn(image, labels, 0)
    # 35 px times 1.3 squared are 59; the nearest pixel is taken, so at the rim a few differ
    assert 45 < (mask > 0).sum() < 75
    assert ((new[..., 1] > 0.5) == (mask > 0)).mean() > 0.99


def test_flips_are_the_four_of_the_paper_equally_often():
    image, labels = make_pair()
    turns = {
        name: turned.tobytes()
        for name, turned in {
            "none": labels,
            "left-right": labels[:, ::-1],
            "up-down": labels[::-1],
            "both": labels[::-1, ::-1],
        }.items()
    }
    names = {value: name for name, value in turns.items()}
    augment = flips()
    drawn = [names[augment(image, labels, seed)[1].tobytes()] for seed in range(200)]
    counts = [drawn.count(name) for name in turns]
    assert min(counts) > 25  # 50 expected, standard deviation 6


def test_light_is_the_eight_symmetries_whether_or_not_the_brightness_changes():
    image, labels = make_pair((32, 32))
    image = np.full_like(image, 0.5)  # gamma changes 0.5; a turn does not
    turns = [np.rot90(side, k) for side in (labels, labels.T) for k in range(4)]
    numbers = {turn.tobytes(): i for i, turn in enumerate(turns)}
    assert len(numbers) == 8
    drawn = []
    for seed in range(400):
        new, mask = light()(image, labels, seed)
        drawn.append((numbers[mask.tobytes()], bool((new != 0.5).any())))
    counts = [drawn.count((number, gamma)) for number in range(8) for gamma in (False, True)]
    assert min(counts) > 8  # 25 expected, standard deviation 5


def test_a_window_has_the_size_asked_for_and_is_cut_from_the_image():
    image, labels = make_pair((64, 48))
    seen = set()
    for seed in range(40):
        new, mask = Augment(crop=20, focus=0.0)(image, labels, seed)
        assert new.shape == (20, 20, 3)
        row, col = divmod(round(float(new[0, 0, 0]) * labels.size), 48)  # the image tells where
        assert (mask == labels[row : row + 20, col : col + 20]).all()
        assert (new == image[row : row + 20, col : col + 20]).all()
        seen.add((row, col))
    rows, cols = np.array(list(seen)).T
    assert rows.min() < 8 and rows.max() > 36 and cols.min() < 6 and cols.max() > 22  # 0..44, 0..28


@pytest.mark.parametrize("shape, wanted", [((16, 64), (16, 20)), ((20, 9), (20, 9))])
def test_images_smaller_than_the_window_are_taken_whole(shape, wanted):
    image, labels = np.zeros((*shape, 3), np.float32), np.zeros(shape, np.int32)
    assert Augment(crop=20)(image, labels, 0)[1].shape == wanted


@pytest.mark.parametrize("where", [(0, 0), (63, 47), (0, 47), (31, 20), (19, 1)])
def test_a_focused_window_holds_the_middle_of_a_nucleus(where):
    image, labels = np.zeros((64, 48, 3), np.float32), np.zeros((64, 48), np.int32)
    labels[where] = 9  # one pixel is its own middle
    places = set()
    for seed in range(40):
        mask = Augment(crop=20)(image, labels, seed)[1]
        assert (mask == 9).sum() == 1
        places.add(tuple(np.argwhere(mask == 9)[0]))
    assert len(places) > 1 or where in [(0, 0), (63, 47), (0, 47)]


def test_a_focused_window_takes_every_nucleus_in_turn():
    image, labels = np.zeros((64, 200, 3), np.float32), np.zeros((64, 200), np.int32)
    for number, col in enumerate((10, 100, 190), 5):
        labels[30:33, col : col + 3] = number
    held = [
        tuple(np.unique(Augment(crop=20)(image, labels, seed)[1])[1:].tolist())
        for seed in range(90)
    ]
    assert set(held) == {(5,), (6,), (7,)}
    assert all(held.count((number,)) > 15 for number in (5, 6, 7))


@pytest.mark.parametrize("factor", [0.5, 2.0, 1.7])
def test_resized_labels_stay_on_their_nuclei_at_any_scale(factor):
    image, labels = make_pair((60, 48))
    new, mask = resized(image, labels, factor)
    assert new.shape == (*mask.shape, 3) and mask.shape == (round(60 * factor), round(48 * factor))
    assert ((new[..., 1] > 0.5) == (mask > 0)).mean() > 0.97
    if factor == 2:  # each pixel becomes four
        assert (mask == labels.repeat(2, 0).repeat(2, 1)).all()


def test_a_window_has_the_size_asked_for_at_any_scale():
    image, labels = make_pair((200, 180), ids=(1,))
    augment = Augment(crop=32, scale=(0.5, 2.0))
    areas = []
    for seed in range(60):
        _, mask = augment(image, labels, seed)
        assert set(mask.shape) <= {31, 32, 33}
        areas.append((mask > 0).sum())
    # of 35 px times 0.5 squared or 2 squared; smaller where the window cuts it
    assert max(areas) > 90 and min(areas) < 15
    assert max(areas) <= 150


def test_the_median_nucleus_is_kept_between_limits():
    image, labels = make_pair((200, 180), ids=(1,))  # 35 px: a diameter of 6.7 px
    for limits, wanted in (((13.4, 50.0), 140), ((1.0, 3.35), 8.75)):
        for seed in range(8):
            augment = Augment(crop=None, scale=(0.9, 1.1), diameters=limits)
            assert (augment(image, labels, seed)[1] > 0).sum() == pytest.approx(wanted, rel=0.4)


def test_wide_stays_finite_and_shows_dark_nuclei_and_bright_ones():
    image = np.zeros((64, 64, 3), np.float32)
    labels = np.zeros((64, 64), np.int32)
    labels[20:40, 20:40], image[20:40, 20:40] = 1, 0.9
    darker = []
    for seed in range(120):
        new, mask = wide(crop=48)(image, labels, seed)
        assert np.isfinite(new).all()
        darker.append(new[mask > 0].mean() < new[mask == 0].mean())
    assert 8 < sum(darker) < 45  # 24 expected, standard deviation 4


@pytest.mark.parametrize("wrong", [(0, 1), (2, 1), (1,)])
def test_a_scale_that_is_no_range_is_refused(wrong):
    with pytest.raises(UserError, match=r"^augment\.scale="):
        Augment(scale=wrong)


def test_without_nuclei_the_window_is_anywhere():
    image, labels = np.zeros((64, 48, 3), np.float32), np.zeros((64, 48), np.int32)
    assert Augment(crop=20, focus=1.0)(image, labels, 0)[1].shape == (20, 20)


def test_focus_is_a_probability():
    image, labels = np.zeros((400, 400, 3), np.float32), np.zeros((400, 400), np.int32)
    labels[200, 200] = 1  # a window of 20 px placed at random holds it once in 360
    held = [Augment(crop=20, focus=0.5)(image, labels, seed)[1].any() for seed in range(200)]
    assert 70 < sum(held) < 130  # 100 expected, standard deviation 7


def test_binary_supervision_refuses_what_shows_single_nuclei():
    with pytest.raises(
        UserError,
        match=r"^augment\.focus=0\.5 .*; set augment\.focus=0, or data\.supervision=instances$",
    ):
        check_hidden("binary", light(crop=32, focus=0.5), 0)
    with pytest.raises(UserError, match=r"^data\.pasted=1 .*; set data\.pasted=0$"):
        check_hidden("binary", flips(), 1)
    check_hidden("binary", light(crop=32, focus=0.0), 0)
    check_hidden("binary", flips(), 0)  # whole images are placed by nothing
    check_hidden("binary", None, 1)  # nothing is trained
    check_hidden("instances", light(crop=32), 3)


def test_ids_that_float32_cannot_tell_apart_stay_apart():
    labels = np.zeros((8, 8), np.int32)
    labels[:4, :4], labels[4:, 4:], labels[:2, 6:] = 2**24, 2**24 + 1, 2**31 - 1
    _, done = Augment()(np.zeros((8, 8, 3), np.float32), labels, 0)
    assert np.unique(done).tolist() == [0, 1, 2, 3]
    assert all(len(np.unique(labels[done == i])) == 1 for i in range(4))
