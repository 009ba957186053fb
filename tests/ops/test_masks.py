"""Masks through label maps against stacks of whole-image masks, in either alignment."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage
from torchvision.models.detection.roi_heads import paste_masks_in_image, project_masks_on_boxes
from torchvision.ops import roi_align

from nucleist.ops.masks import ALIGNMENTS, mask_targets, paste_label_map

SHAPE = (53, 71)
STRUCTURES = {
    "none": np.pad([[True]], 1),
    "cross3": ndimage.generate_binary_structure(2, 1),
    "square3": np.ones((3, 3), bool),
}


def random_boxes(generator, count, beyond=0.0):
    """Boxes with sides of 1 to 30 px, up to the share `beyond` of which is outside the image."""
    sides = 1 + 29 * torch.rand(count, 2, generator=generator)
    room = torch.tensor([SHAPE[1], SHAPE[0]]) - (1 - 2 * beyond) * sides
    low = torch.rand(count, 2, generator=generator) * room - beyond * sides
    return torch.cat([low, low + sides], 1)


def targets_of_planes(stack, boxes, nucleus, side, alignment):
    """RoIAlign of whole masks, on the grid of pixel squares or as torchvision does."""
    if alignment == "torchvision":
        return project_masks_on_boxes(stack, boxes, nucleus, side)
    rois = torch.cat([nucleus[:, None].to(boxes), boxes], 1)
    return roi_align(stack[:, None].float(), rois, side, 1.0, aligned=True)[:, 0]


def values_of_planes(masks, boxes, alignment):
    """Masks resampled bilinearly on whole images: `(K, H, W)`."""
    if alignment == "torchvision":
        return paste_masks_in_image(masks, boxes, SHAPE)[:, 0]
    planes = []
    rows, cols = (torch.arange(side).double() + 0.5 for side in SHAPE)
    for mask, (x0, y0, x1, y1) in zip(masks.double(), boxes.tolist(), strict=True):
        # From the middles of the pixels to grid_sample's frame, which is [-1, 1] in the box.
        x, y = (cols - x0) / (x1 - x0) * 2 - 1, (rows - y0) / (y1 - y0) * 2 - 1
        grid = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], 2)
        planes.append(F.grid_sample(mask[None], grid[None], align_corners=False)[0, 0])
    return torch.stack(planes)


def full_masks(masks, boxes, dilation="none", alignment="exact"):
    """Boolean planes, each dilated by scipy."""
    stack = (values_of_planes(masks, boxes, alignment) > 0.5).numpy()
    return [ndimage.binary_dilation(mask, STRUCTURES[dilation]) for mask in stack]


def painted_by_planes(planes, max_lost=1.0):
    """First come, first served, plane by plane; too much lost, not painted."""
    label_map, kept = np.zeros(SHAPE, np.int32), []
    for i, mask in enumerate(planes):
        free = mask & (label_map == 0)
        kept.append(bool(free.any() and (mask.sum() - free.sum()) / mask.sum() <= max_lost))
        if kept[-1]:
            label_map[free] = i + 1
    return label_map, kept


def blob_masks(generator, count, side=28):
    """Smooth random masks, some of them in several pieces."""
    noise = torch.rand(count, side, side, generator=generator).numpy()
    smooth = np.stack([ndimage.gaussian_filter(plane, 3) for plane in noise])
    low, high = smooth.min((1, 2), keepdims=True), smooth.max((1, 2), keepdims=True)
    return torch.from_numpy((smooth - low) / (high - low)).float()[:, None]


@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("side", [14, 28])
@pytest.mark.parametrize("seed", range(3))
def test_targets_equal_roi_align_of_whole_masks(seed, side, alignment):
    generator = torch.Generator().manual_seed(seed)
    label_map = torch.randint(0, 6, SHAPE, generator=generator, dtype=torch.int32)
    stack = torch.stack([label_map == i + 1 for i in range(5)])
    boxes = random_boxes(generator, 20)
    boxes[0] = torch.tensor([0.0, 0.0, SHAPE[1], SHAPE[0]])  # the whole image
    boxes[1] = torch.tensor([SHAPE[1] - 1.0, SHAPE[0] - 1.0, SHAPE[1], SHAPE[0]])  # its last pixel
    nucleus = torch.randint(0, 5, (20,), generator=generator)
    got = mask_targets(label_map, boxes, nucleus, side, alignment)
    wanted = targets_of_planes(stack, boxes, nucleus, side, alignment)
    assert torch.allclose(got, wanted, atol=2e-5)
    # alone, a box has a crop of just its own size
    alone = [
        mask_targets(label_map, boxes[i : i + 1], nucleus[i : i + 1], side, alignment)
        for i in range(2, 20)
    ]
    assert torch.allclose(torch.cat(alone), wanted[2:], atol=2e-5)


def test_targets_of_a_nucleus_that_a_resize_erased_are_empty():
    label_map = torch.zeros(8, 8, dtype=torch.int32)
    boxes = torch.tensor([[2.0, 2.0, 2.5, 2.5]])
    assert not mask_targets(label_map, boxes, torch.tensor([0]), 28).any()


def test_targets_of_no_box():
    label_map = torch.ones(8, 8, dtype=torch.int32)
    none = mask_targets(label_map, torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), 28)
    assert none.shape == (0, 28, 28)


@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("dilation", ["none", "cross3", "square3"])
@pytest.mark.parametrize("beyond", [0.0, 0.4])
@pytest.mark.parametrize("seed", range(3))
def test_painting_equals_pasted_planes_best_first(seed, beyond, dilation, alignment):
    generator = torch.Generator().manual_seed(seed)
    masks, boxes = blob_masks(generator, 25), random_boxes(generator, 25, beyond=beyond)
    got, kept = paste_label_map(masks, boxes, SHAPE, dilation=dilation, alignment=alignment)
    planes = full_masks(masks, boxes, dilation, alignment)
    wanted, wanted_kept = painted_by_planes(planes)
    assert got.dtype == torch.int32
    np.testing.assert_array_equal(got, wanted)
    assert kept.tolist() == wanted_kept


@pytest.mark.parametrize("dilation", ["cross3", "square3"])
def test_dilation_is_scipys(dilation):
    mask = torch.zeros(1, 1, 28, 28)
    mask[0, 0, 8:20, 10:18] = 1
    box = torch.tensor([[11.0, 9.0, 39.0, 37.0]])
    before, _ = paste_label_map(mask, box, SHAPE)
    after, _ = paste_label_map(mask, box, SHAPE, dilation=dilation)
    wanted = ndimage.binary_dilation(before.numpy() > 0, STRUCTURES[dilation])
    np.testing.assert_array_equal(after > 0, wanted)


@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("threshold", [0.3, 0.8])
def test_the_threshold_is_on_the_pasted_mask(threshold, alignment):
    generator = torch.Generator().manual_seed(5)
    masks, boxes = blob_masks(generator, 1), random_boxes(generator, 1)
    got, _ = paste_label_map(masks, boxes, SHAPE, threshold, alignment=alignment)
    wanted = values_of_planes(masks, boxes, alignment)[0] > threshold
    assert torch.equal(got > 0, wanted)


def bars(*spans):
    """Full masks over columns `[x0, x1)` of the first 10 rows."""
    boxes = torch.tensor([[x0, 0.0, x1, 10.0] for x0, x1 in spans])
    return torch.ones(len(spans), 1, 28, 28), boxes


def areas(label_map):
    """Pixels of the nuclei 1 and 2."""
    return [int((label_map == i).sum()) for i in (1, 2)]


def test_the_higher_or_the_lower_score_has_the_overlap():
    masks, boxes = bars((0, 20), (10, 30))
    high, _ = paste_label_map(masks, boxes, SHAPE, overlap="high")
    low, _ = paste_label_map(masks, boxes, SHAPE, overlap="low")
    assert high[0, 15] == 1 and low[0, 15] == 2
    assert high[0, 5] == low[0, 5] == 1 and high[0, 25] == low[0, 25] == 2


@pytest.mark.parametrize("overlap", ["high", "low"])
@pytest.mark.parametrize("max_lost", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("seed", range(2))
def test_the_share_that_may_be_lost_equals_planes(seed, max_lost, overlap):
    generator = torch.Generator().manual_seed(seed)
    masks, boxes = blob_masks(generator, 25), random_boxes(generator, 25)
    got, kept = paste_label_map(masks, boxes, SHAPE, overlap=overlap, max_lost=max_lost)
    planes = full_masks(masks, boxes)
    turn = 1 if overlap == "high" else -1
    wanted, wanted_kept = painted_by_planes(planes[::turn], max_lost=max_lost)
    if overlap == "low":  # painted from the last detection to the first
        wanted = np.where(wanted > 0, len(planes) + 1 - wanted, 0)
    np.testing.assert_array_equal(got, wanted)
    assert kept.tolist() == wanted_kept[::turn]


def test_seventy_per_cent():
    masks, boxes = bars((0, 40), (10, 50))  # 30 of the second one's 40 columns are the first's
    alone = areas(paste_label_map(masks[1:], boxes[1:], SHAPE)[0])[0]
    lost = 1 - areas(paste_label_map(masks, boxes, SHAPE)[0])[1] / alone
    assert 0.7 < lost < 0.8
    for max_lost, second in [(0.7, False), (lost - 1e-6, False), (lost + 1e-6, True)]:
        painted, kept = paste_label_map(masks, boxes, SHAPE, max_lost=max_lost)
        assert kept.tolist() == [True, second]
        assert (areas(painted)[1] > 0) == second


def test_a_dropped_nucleus_frees_its_pixels():
    # Of the second bar 3/4 lie under the first; the third lies where only the second was.
    masks, boxes = bars((0, 30), (8, 40), (31, 40))
    painted, kept = paste_label_map(masks, boxes, SHAPE, max_lost=0.6)
    assert kept.tolist() == [True, False, True]
    assert painted[0, 35] == 3


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("count", [0, 1, 7, 20])
def test_erasing_low_scores_is_painting_only_the_high_ones(seed, count):
    generator = torch.Generator().manual_seed(seed)
    masks, boxes = blob_masks(generator, 25), random_boxes(generator, 25)
    whole, kept = paste_label_map(masks, boxes, SHAPE, dilation="cross3", max_lost=0.7)
    part, part_kept = paste_label_map(
        masks[:count], boxes[:count], SHAPE, dilation="cross3", max_lost=0.7
    )
    assert torch.equal(part, torch.where(whole <= count, whole, 0))
    assert torch.equal(part_kept, kept[:count])


def test_no_detection_and_a_box_outside():
    painted, kept = paste_label_map(torch.zeros(0, 1, 28, 28), torch.zeros(0, 4), SHAPE)
    assert painted.shape == SHAPE and not painted.any() and len(kept) == 0
    far = torch.tensor([[200.0, 200.0, 220.0, 220.0]])
    painted, kept = paste_label_map(torch.ones(1, 1, 28, 28), far, SHAPE)
    assert not painted.any() and kept.tolist() == [False]
