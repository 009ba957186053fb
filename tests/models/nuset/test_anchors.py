"""NuSeT's anchors against sides worked out by hand."""

import pytest
import torch

from nucleist.models.nuset.anchors import (
    anchor_sides,
    anchors_on,
    inside,
    median_size,
    padded_boxes,
)


def test_the_median_nucleus_is_measured_along_its_longer_side():
    # Longer sides 10, 30, 12, 20: the middle two are 12 and 20.
    boxes = torch.tensor([[0, 0, 10, 4], [5, 5, 12, 35], [3, 3, 15, 15], [0, 9, 20, 10]])
    assert median_size(boxes, 32) == 16
    assert median_size(boxes[:3], 32) == 12
    assert median_size(boxes[:0], 32) == 32


def test_the_21_sides_of_a_median_nucleus_of_16_pixels():
    sides = anchor_sides(16)
    assert sides.shape == (21, 2)
    # Scale 1 comes second: ratio 1/4 is 32 wide and 8 high, ratio 1 the square, ratio 4 8 x 32.
    assert sides[8].tolist() == [32, 8]
    assert sides[10].tolist() == [16, 16]
    assert sides[12].tolist() == [8, 32]
    # Ratio 8: 16 / sqrt(8) = 5.657 wide and 45.255 high; half and twice of that at 1/2 and 2.
    for place, scale in ((6, 0.5), (13, 1.0), (20, 2.0)):
        assert sides[place].tolist() == pytest.approx([5.657 * scale, 45.255 * scale], abs=2e-3)
    areas = sides.prod(1).view(3, 7)
    for row, scale in zip(areas, (0.5, 1.0, 2.0), strict=True):
        assert row.tolist() == pytest.approx([256 * scale**2] * 7, rel=1e-5)


def test_anchors_lie_around_the_middles_of_the_cells():
    anchors = anchors_on((2, 3), anchor_sides(16))
    assert anchors.shape == (2 * 3 * 21, 4)
    squares = anchors.view(2, 3, 21, 4)[:, :, 10]
    assert squares[0, 0].tolist() == [0, 0, 16, 16]  # exactly the cell
    assert squares[1, 2].tolist() == [32, 16, 48, 32]
    wide = anchors.view(2, 3, 21, 4)[1, 0, 8]
    assert wide.tolist() == [8 - 16, 24 - 4, 8 + 16, 24 + 4]


def test_the_authors_anchors_lie_around_the_first_pixels():
    # Their inclusive corners are centre -+ (side - 1) / 2: side 16 around pixel 16 is 8.5 to 23.5,
    # and 8.5 to 24.5 with the right end exclusive.
    anchors = anchors_on((1, 2), torch.tensor([[16.0, 16.0]]), offset=0.5)
    assert anchors[1].tolist() == [8.5, -7.5, 24.5, 8.5]


def test_an_anchor_that_ends_with_the_image_is_inside():
    boxes = torch.tensor([[0, 0, 20, 10], [-0.1, 0, 5, 5], [0, 0, 20.1, 5], [0, 0, 5, 10.1]])
    assert inside(boxes, (10, 20)).tolist() == [True, False, False, False]


def test_padding_ends_at_the_image():
    boxes = torch.tensor([[3.0, 12.0, 9.0, 18.0]])
    assert padded_boxes(boxes, 10, (20, 30)).tolist() == [[0, 2, 19, 20]]
    assert torch.equal(padded_boxes(boxes, 0, (20, 30)), boxes)
