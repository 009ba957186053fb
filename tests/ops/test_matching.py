"""Matching through overlapping pairs against torchvision's matrix, number for number."""

import pytest
import torch
from torchvision.models.detection._utils import Matcher
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou

from nucleist.models.rcnn.rpn import GridAnchors
from nucleist.ops import matching
from nucleist.ops.matching import OverlapMatcher, grid_overlaps, matching_overlaps, overlaps

STRIDES = (4, 8, 16)


def anchors_for(size):
    """Anchors of three levels for a square image, and their grids."""
    make = GridAnchors(((12, 20), (28, 40), (56, 80)), ((0.7, 1.0, 1.4),) * 3)
    features = [torch.zeros(1, 1, size // s, size // s) for s in STRIDES]
    anchors = make(ImageList(torch.zeros(1, 3, size, size), [(size, size)]), features)[0]
    return anchors, make.levels


def random_boxes(generator, count, size, whole=False):
    """Boxes of 1 to 60 px, cut by the image; on whole pixels many IoUs are equal."""
    middle = torch.rand(count, 2, generator=generator) * size
    side = 1 + 59 * torch.rand(count, 2, generator=generator)
    boxes = torch.cat([middle - side / 2, middle + side / 2], 1).clamp(0, size)
    return boxes.round() if whole else boxes


@pytest.mark.parametrize("low_quality", [True, False])
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(("size", "count"), [(64, 1), (64, 40), (128, 7), (128, 300)])
@pytest.mark.parametrize("seed", range(3))
def test_matches_are_torchvisions(seed, size, count, whole, low_quality):
    boxes = random_boxes(torch.Generator().manual_seed(seed), count, size, whole)
    anchors, levels = anchors_for(size)
    wanted = Matcher(0.7, 0.3, low_quality)(box_iou(boxes, anchors))
    matcher = OverlapMatcher(0.7, 0.3, low_quality)
    assert torch.equal(matcher(grid_overlaps(boxes, anchors, levels)), wanted)
    assert torch.equal(matcher(overlaps(boxes, anchors)), wanted)
    some, every = matching_overlaps(boxes, anchors, levels, 0.3), overlaps(boxes, anchors)
    assert torch.equal(matcher(some), wanted)
    assert torch.equal(matcher.near(some), matcher.near(every))


@pytest.mark.parametrize("seed", range(20))
def test_boxes_too_small_or_large_for_any_anchor(seed):
    """Their best anchors are below the low threshold, and other boxes overlap those anchors."""
    generator = torch.Generator().manual_seed(seed)
    boxes = random_boxes(generator, 40, 96, whole=True)
    boxes[::2, 2:] = boxes[::2, :2] + 1 + torch.rand(20, 2, generator=generator) * 5
    boxes[1] = torch.tensor([0.0, 40.0, 96.0, 44.0])
    anchors, levels = anchors_for(96)
    iou = box_iou(boxes, anchors)
    assert 10 < int((iou.amax(1) < 0.3).sum()) < 40
    matcher, some = OverlapMatcher(0.7, 0.3, True), matching_overlaps(boxes, anchors, levels, 0.3)
    assert torch.equal(matcher(some), Matcher(0.7, 0.3, True)(iou))
    assert torch.equal(matcher.near(some), matcher.near(overlaps(boxes, anchors)))


def test_half_of_the_pairs_are_left_out():
    boxes = random_boxes(torch.Generator().manual_seed(5), 300, 256)
    anchors, levels = anchors_for(256)
    some, every = (
        matching_overlaps(boxes, anchors, levels, 0.3),
        grid_overlaps(boxes, anchors, levels),
    )
    assert len(some.box) < 0.5 * len(every.box)

    def likely(found):
        chosen = found.iou >= 0.3
        return set(zip(found.box[chosen].tolist(), found.candidate[chosen].tolist(), strict=True))

    assert likely(some) == likely(every)


def test_thousands_of_boxes():
    boxes = random_boxes(torch.Generator().manual_seed(0), 1000, 128)
    anchors, levels = anchors_for(128)
    wanted = Matcher(0.7, 0.3, True)(box_iou(boxes, anchors))
    assert torch.equal(
        OverlapMatcher(0.7, 0.3, True)(grid_overlaps(boxes, anchors, levels)), wanted
    )


def test_pairs_and_ious_are_those_of_the_matrix():
    boxes = random_boxes(torch.Generator().manual_seed(1), 20, 128)
    anchors, levels = anchors_for(128)
    iou = box_iou(boxes, anchors)
    for found in (grid_overlaps(boxes, anchors, levels), overlaps(boxes, anchors)):
        filled = torch.zeros_like(iou)
        filled[found.box, found.candidate] = found.iou
        assert torch.equal(filled, iou)
        assert len(found.box) == int((iou > 0).sum())
        assert found.shape == iou.shape


def test_chunks_do_not_change_the_pairs(monkeypatch):
    boxes = random_boxes(torch.Generator().manual_seed(2), 9, 64)
    candidates = random_boxes(torch.Generator().manual_seed(3), 101, 64)
    whole = overlaps(boxes, candidates)
    monkeypatch.setattr(matching, "PAIRS", 20)
    parts = overlaps(boxes, candidates)
    assert all(torch.equal(a, b) for a, b in zip(parts[:3], whole[:3], strict=True))


@pytest.mark.parametrize("empty", [[5.0, 5.0, 5.0, 9.0], [200.0, 200.0, 230.0, 230.0]])
def test_a_box_that_touches_nothing_ties_with_all(empty):
    anchors, levels = anchors_for(64)
    boxes = random_boxes(torch.Generator().manual_seed(4), 6, 64)
    boxes[3] = torch.tensor(empty)
    wanted = Matcher(0.7, 0.3, True)(box_iou(boxes, anchors))
    matcher = OverlapMatcher(0.7, 0.3, True)
    assert torch.equal(matcher(grid_overlaps(boxes, anchors, levels)), wanted)
    assert torch.equal(matcher(matching_overlaps(boxes, anchors, levels, 0.3)), wanted)
    assert (wanted >= 0).all()  # which is why found boxes without area are dropped before
    rest = torch.cat([boxes[:3], boxes[4:]])
    near = OverlapMatcher(0.7, 0.3, True)(overlaps(rest, anchors)) != Matcher.BELOW_LOW_THRESHOLD
    assert torch.equal(matcher.near(overlaps(boxes, anchors)), near)


def test_nothing_to_match():
    anchors, levels = anchors_for(64)
    none = torch.zeros(0, 4)
    nothing = matching_overlaps(none, anchors, levels, 0.3)
    for found in (grid_overlaps(none, anchors, levels), nothing, overlaps(none, anchors)):
        assert found.shape == (0, len(anchors)) and len(found.box) == 0
        with pytest.raises(ValueError, match="no boxes"):
            OverlapMatcher(0.7, 0.3, True)(found)
        assert not OverlapMatcher(0.7, 0.3, True).near(found).any()
    far = torch.tensor([[900.0, 900.0, 910.0, 910.0]])
    assert not OverlapMatcher(0.7, 0.3, True).near(overlaps(far, anchors)).any()
    assert OverlapMatcher(0.7, 0.3, True).near(overlaps(far, none)).shape == (0,)


def test_memory_is_that_of_the_pairs():
    boxes = torch.tensor([[8.0, 8.0, 20.0, 20.0]]).repeat(500, 1)
    anchors, levels = anchors_for(512)
    found = grid_overlaps(boxes, anchors, levels)
    assert len(found.box) < 0.02 * len(boxes) * len(anchors)
