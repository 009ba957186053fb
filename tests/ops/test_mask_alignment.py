"""Drawn shapes of known position, through targets and pasting: they come back where they were."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.drawn import areas, many_discs, middles, picture_of

from nucleist.ops.labels import boxes_of
from nucleist.ops.masks import ALIGNMENTS, mask_targets, paste_label_map

SHAPE, STEP = (192, 240), 48


def returned(labels, boxes, alignment="exact", side=28):
    """The nuclei of a label map through targets in their boxes and pasting."""
    label_map = torch.from_numpy(labels)
    targets = mask_targets(label_map, boxes, torch.arange(len(boxes)), side, alignment)
    shape = (labels.shape[0], labels.shape[1])
    return paste_label_map(targets[:, None], boxes, shape, alignment=alignment)[0].numpy()


def drawn(seed=0, radii=(3, 22)):
    """Discs at sub-pixel centres, their label map and its boxes."""
    labels, centers, sizes = many_discs(SHAPE, STEP, radii, seed)
    return labels, centers, sizes, boxes_of(torch.from_numpy(labels), len(sizes))


def errors(found, labels, count):
    """Distances of the centroids and relative errors of the areas."""
    apart = np.linalg.norm(middles(found, count) - middles(labels, count), axis=1)
    return apart, areas(found, count) / areas(labels, count) - 1


def overlap(one, other):
    """Intersection over union of two masks."""
    return (one & other).sum() / (one | other).sum()


@pytest.mark.parametrize("seed", range(3))
def test_drawn_discs_come_back(seed):
    labels, _, sizes, boxes = drawn(seed)
    apart, off = errors(returned(labels, boxes), labels, len(sizes))
    assert apart.mean() < 0.05 and apart.max() < 0.15
    assert np.abs(off).mean() < 0.01 and abs(off.mean()) < 0.005


def test_torchvisions_come_back_to_the_upper_left():
    labels, _, sizes, boxes = drawn()
    found = returned(labels, boxes, "torchvision")
    shift = (middles(found, len(sizes)) - middles(labels, len(sizes))).mean(0)
    assert (-0.6 < shift).all() and (shift < -0.3).all()


@pytest.mark.parametrize("seed", range(3))
def test_discs_come_back_from_boxes_of_any_fraction(seed):
    # Boxes as a net proposes them: a little too large, by another amount at every side.
    labels, _, sizes, boxes = drawn(seed)
    generator = torch.Generator().manual_seed(seed)
    more = 3 * torch.rand(boxes.shape, generator=generator)
    wider = boxes + more * torch.tensor([-1.0, -1.0, 1.0, 1.0])
    wider = wider.clamp(min=0).minimum(torch.tensor([SHAPE[1], SHAPE[0]] * 2))
    apart, off = errors(returned(labels, wider), labels, len(sizes))
    assert apart.mean() < 0.05 and np.abs(off).mean() < 0.015
    shift = (middles(returned(labels, wider), len(sizes)) - middles(labels, len(sizes))).mean(0)
    assert np.abs(shift).max() < 0.02


@pytest.mark.parametrize("seed", range(3))
def test_a_perfect_mask_is_pasted_where_the_disc_is(seed):
    # The mask that a perfect net would give: what each cell of the box is covered by the disc.
    rng = np.random.default_rng(seed)
    count, side = 40, 28
    radius = rng.uniform(4, 20, count)
    centers = rng.uniform(30, 34, (count, 2))
    shifts, sizes = [], []
    for center, r in zip(centers, radius, strict=True):
        mask = picture_of((side, side), (side / 2, side / 2), side / 2)
        low, high = (center - r)[::-1], (center + r)[::-1]
        box = torch.tensor([[*low, *high]], dtype=torch.float32)
        painted, _ = paste_label_map(torch.from_numpy(mask)[None, None], box, (64, 64))
        shifts.append(middles(painted.numpy(), 1)[0] - center)
        sizes.append(areas(painted.numpy(), 1)[0] / (np.pi * r**2) - 1)
    assert np.linalg.norm(shifts, axis=1).mean() < 0.1  # of one raster; the mean has no shift
    assert np.abs(np.mean(shifts, 0)).max() < 0.03
    assert abs(np.mean(sizes)) < 0.01


def test_thin_parts_come_back():
    # A square of 10 px with an arm 2 px thick and 20 px long, and rings 2 px thick
    labels = np.zeros((48, 128), np.int32)
    labels[20:30, 8:18] = labels[24:26, 18:38] = 1
    for nucleus, (left, side) in enumerate([(44, 20), (70, 28), (102, 25)], 2):
        labels[10 : 10 + side, left : left + side] = nucleus
        labels[12 : 8 + side, left + 2 : left + side - 2] = 0
    boxes = boxes_of(torch.from_numpy(labels), 4)
    found, old = (returned(labels, boxes, alignment) for alignment in ALIGNMENTS)
    assert np.array_equal(found == 3, labels == 3)  # 28 px: a cell is a pixel
    assert min(overlap(found == i, labels == i) for i in (1, 2, 3, 4)) > 0.98
    assert min(overlap(old == i, labels == i) for i in (1, 2, 3, 4)) < 0.8


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    flips=st.sets(st.sampled_from([0, 1])),
    step=st.tuples(st.integers(0, 9), st.integers(0, 9)),
)
def test_mirrored_and_moved_nuclei_come_back_mirrored_and_moved(seed, flips, step):
    labels, _, sizes = many_discs((64, 64), 32, (3, 14), seed)
    boxes = boxes_of(torch.from_numpy(labels), len(sizes)) + 0.3  # no edge is on a middle
    plain = returned(labels, boxes)
    turned = np.flip(np.pad(labels, ((step[0], 0), (step[1], 0))), tuple(flips)).copy()
    moved = boxes + torch.tensor([step[1], step[0]] * 2)
    for axis, (low, high) in enumerate([(1, 3), (0, 2)]):
        if axis in flips:
            moved[:, [low, high]] = turned.shape[axis] - moved[:, [high, low]]
    found = np.flip(returned(turned, moved), tuple(flips))[step[0] :, step[1] :]
    # A value of a half may be rounded to either side of the threshold.
    assert (found != plain).sum() <= len(sizes)


@pytest.mark.parametrize("count", [0, 3])
def test_boxes_that_hold_no_middle_of_a_pixel_paint_nothing(count):
    boxes = torch.tensor([[4.6, 4.6, 5.3, 9.0], [7.0, 7.0, 7.0, 7.0], [70.0, 3.0, 80.0, 9.0]])
    given = torch.ones(count, 1, 28, 28), boxes[:count], (16, 16)
    painted, kept = paste_label_map(*given)
    assert not painted.any() and not kept.any()
    grown, _ = paste_label_map(*given, dilation="cross3")
    assert not grown.any()
