"""Centre targets against loops over cells, peaks against scipy."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from support.drawn import disc

from nucleist.ops.centers import CenterTarget, cell_anchors, center_target, peaks
from nucleist.ops.labels import boxes_of
from nucleist.ops.masks import ALIGNMENTS


def is_inside(label_map, y, x, alignment):
    """Whether a point, the corner of four pixels, is in a nucleus."""
    if alignment == "torchvision":
        return y < label_map.shape[0] and x < label_map.shape[1] and label_map[y, x] > 0
    around = label_map[y - 1 : y + 1, x - 1 : x + 1] > 0
    return around.size > 0 and around.mean() >= 0.5


def targets_by_loops(boxes, label_map, size, overlap, stride=4, share=0.3, alignment="torchvision"):
    """Cell by cell, as the paper's section II with the rounding of the authors' code."""
    labels = np.full(size, -1)
    index = np.zeros(size, int)
    nearest = np.full(size, np.inf)
    for i in range(size[0]):
        for j in range(size[1]):
            y, x = stride * i + stride // 2, stride * j + stride // 2
            if is_inside(label_map, y, x, alignment):
                labels[i, j] = 0
    for number, (x0, y0, x1, y1) in enumerate(boxes):
        cx, cy = (x0 + x1) / 2 / stride, (y0 + y1) / 2 / stride
        hw, hh = share * (x1 - x0) / 2 / stride, share * (y1 - y0) / 2 / stride
        left, top = math.floor(cx - hw), math.floor(cy - hh)
        right = max(left + 1, math.ceil(cx + hw))
        bottom = max(top + 1, math.ceil(cy + hh))
        for i in range(max(top, 0), min(bottom, size[0])):
            for j in range(max(left, 0), min(right, size[1])):
                distance = (j + 0.5 - cx) ** 2 + (i + 0.5 - cy) ** 2
                if overlap == "last" or distance < nearest[i, j]:
                    nearest[i, j] = distance
                    index[i, j] = number
                labels[i, j] = 1
    return labels, index


def one_target(boxes, label_map, *args, **options):
    """Targets of a batch of one image."""
    labels, nucleus = center_target([boxes], [label_map], *args, **options)
    return CenterTarget(labels[0], nucleus[0])


def rectangles(seed, count, shape=(61, 83), smallest=1, largest=40):
    """Overlapping rectangles painted into a label map in order, and their whole boxes."""
    rng = np.random.default_rng(seed)
    label_map = torch.zeros(shape, dtype=torch.int32)
    boxes = []
    for i in range(count):
        h, w = rng.integers(smallest, largest, 2)
        y, x = rng.integers(0, shape[0] - h + 1), rng.integers(0, shape[1] - w + 1)
        label_map[y : y + h, x : x + w] = i + 1
        boxes.append([x, y, x + w, y + h])
    return torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), label_map


@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("overlap", ["nearest", "last"])
@pytest.mark.parametrize("count", [0, 1, 2, 12])
@pytest.mark.parametrize("seed", range(4))
def test_targets_equal_loops(seed, count, overlap, alignment):
    boxes, label_map = rectangles(seed, count)
    size = (16, 24)  # 61 x 83 px are 15.25 x 20.75 cells; the rest is padding
    got = one_target(boxes, label_map, size, overlap=overlap, alignment=alignment)
    given = boxes.tolist(), label_map.numpy(), size, overlap
    labels, index = targets_by_loops(*given, alignment=alignment)
    np.testing.assert_array_equal(got.labels, labels)
    np.testing.assert_array_equal(got.nucleus[got.labels == 1], index[labels == 1])
    assert (got.labels[:, 21:] == -1).all()  # padding stays unknown


@pytest.mark.parametrize("share", [0.1, 0.3, 0.9])
def test_targets_equal_loops_at_other_shares_and_fractions_of_pixels(share):
    boxes, label_map = rectangles(7, 9)
    boxes = boxes * torch.tensor([0.983, 0.991, 0.983, 0.991])  # as after a resize
    got = one_target(boxes, label_map, (16, 24), share=share)
    given = boxes.tolist(), label_map.numpy(), (16, 24), "nearest", 4, share, "exact"
    wanted, _ = targets_by_loops(*given)
    np.testing.assert_array_equal(got.labels, wanted)


def test_two_overlapping_nuclei_share_their_cells_by_the_rule():
    # Two boxes of 40 x 40 px, 4 px apart: middles at x = 20 and 24, that is 5 and 6 cells;
    # half width 0.3 * 40 / 8 = 1.5 cells, so columns 3..6 and 4..7, rows 3..6 of both.
    boxes = torch.tensor([[0, 0, 40, 40], [4, 0, 44, 40]], dtype=torch.float32)
    label_map = torch.zeros(48, 48, dtype=torch.int32)
    label_map[:40, :44] = 1
    nearest = one_target(boxes, label_map, (12, 12), overlap="nearest")
    last = one_target(boxes, label_map, (12, 12), overlap="last")
    assert (nearest.labels[3:7, 3:8] == 1).all() and (nearest.labels == 1).sum() == 20
    # column 4 is centred at 4.5 (0.5 and 1.5 away), 5 at 5.5 (a tie: the first), 6 at 6.5
    assert nearest.nucleus[4, 3:8].tolist() == [0, 0, 0, 1, 1]
    assert last.nucleus[4, 3:8].tolist() == [0, 1, 1, 1, 1]
    assert torch.equal(nearest.labels, last.labels)


@pytest.mark.parametrize("row, col", [(0, 0), (63, 63), (0, 63), (31, 30), (17, 4), (62, 1)])
def test_one_pixel_has_exactly_one_centre_cell(row, col):
    label_map = torch.zeros(64, 64, dtype=torch.int32)
    label_map[row, col] = 1
    labels, _ = one_target(boxes_of(label_map, 1), label_map, (16, 16))
    assert (labels == 1).nonzero().tolist() == [[row // 4, col // 4]]


def test_a_nucleus_in_the_corner_has_its_middle_there():
    # 16 x 16 px at the lower right of 64 x 64: the middle, 56 px, is the border of cells 13
    # and 14, the half width 0.6 of a cell, so cells 13 and 14; inside are cells 12..15.
    label_map = torch.zeros(64, 64, dtype=torch.int32)
    label_map[48:, 48:] = 1
    labels, _ = one_target(boxes_of(label_map, 1), label_map, (16, 16))
    assert (labels[13:15, 13:15] == 1).all() and (labels == 1).sum() == 4
    assert (labels[12:, 12:] >= 0).all() and (labels >= 0).sum() == 16


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("seed", range(4))
def test_flipping_flips_the_targets(seed, axis):
    boxes, label_map = rectangles(seed, 5, (64, 96))  # the sides are multiples of 4
    flipped = boxes.clone()
    low, high = (1, 3) if axis == 0 else (0, 2)
    flipped[:, low] = label_map.shape[axis] - boxes[:, high]
    flipped[:, high] = label_map.shape[axis] - boxes[:, low]
    plain = one_target(boxes, label_map, (16, 24)).labels
    other = one_target(flipped, label_map.flip(axis), (16, 24)).labels.flip(axis)
    assert torch.equal(plain, other)


def test_targets_of_drawn_discs_lie_where_the_discs_do():
    # Cell i covers the pixels [4i, 4i + 4). Over many discs at random fractions of a pixel the
    # rounding to cells cancels, a shift does not.
    rng = np.random.default_rng(0)
    shifts = {alignment: [] for alignment in (*ALIGNMENTS, "centres")}
    for _ in range(200):
        center, radius = rng.uniform(28, 36, 2), rng.uniform(10, 18)
        label_map = torch.from_numpy(disc((64, 64), center, radius))
        for alignment in ALIGNMENTS:
            given = boxes_of(label_map, 1), label_map, (16, 16)
            labels = one_target(*given, alignment=alignment).labels
            for name, cells in ((alignment, labels >= 0), ("centres", labels == 1)):
                middle = 4 * (cells.nonzero().double().mean(0) + 0.5)
                shifts[name].append(middle.numpy() - center)
    mean = {name: np.mean(values, 0) for name, values in shifts.items()}
    assert np.abs(mean["centres"]).max() < 0.1
    assert np.abs(mean["exact"]).max() < 0.1
    np.testing.assert_allclose(mean["torchvision"], -0.5, atol=0.1)


def peaks_by_scipy(probability, threshold, connectivity):
    """One image at a time, one component at a time."""
    structure = ndimage.generate_binary_structure(2, connectivity // 4)
    found = []
    for number, image in enumerate(probability):
        components, count = ndimage.label(image > threshold, structure)
        for position in ndimage.maximum_position(image, components, range(1, count + 1)):
            found.append((number, int(position[0]), int(position[1])))
    return found


def as_rows(found):
    return list(zip(found.image.tolist(), found.row.tolist(), found.col.tolist(), strict=True))


@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("seed", range(4))
def test_peaks_equal_scipy(seed, connectivity):
    probability = torch.rand(3, 17, 29, generator=torch.Generator().manual_seed(seed))
    found = peaks(probability, 0.6, connectivity)
    assert as_rows(found) == peaks_by_scipy(probability.numpy(), 0.6, connectivity)
    assert torch.equal(found.score, probability[found.image, found.row, found.col])


def test_connectivity_decides_about_diagonals():
    probability = torch.zeros(1, 4, 4)
    probability[0, 1, 1], probability[0, 2, 2] = 0.9, 0.8
    assert as_rows(peaks(probability, 0.5, 4)) == [(0, 1, 1), (0, 2, 2)]
    assert as_rows(peaks(probability, 0.5, 8)) == [(0, 1, 1)]


def test_of_equal_scores_the_first_in_reading_order_is_the_peak():
    probability = torch.zeros(1, 5, 5)
    probability[0, 1:4, 1:4] = 0.9
    probability[0, 1, 1] = 0.7  # row 1: 0.7 0.9 0.9
    assert as_rows(peaks(probability, 0.5)) == [(0, 1, 2)]


def test_blobs_give_one_peak_each():
    probability = torch.zeros(2, 16, 16)
    for image, row, col in [(0, 2, 3), (0, 8, 12), (0, 13, 2), (1, 7, 7)]:
        probability[image, row - 1 : row + 2, col - 1 : col + 2] = 0.96
        probability[image, row, col] = 0.99
    assert as_rows(peaks(probability, 0.95)) == [(0, 2, 3), (0, 8, 12), (0, 13, 2), (1, 7, 7)]


def test_exactly_the_threshold_is_not_above_it():
    probability = torch.full((1, 3, 3), 0.95)
    assert as_rows(peaks(probability, 0.95)) == []
    probability[0, 2, 1] = torch.nextafter(torch.tensor(0.95), torch.tensor(1.0))
    assert as_rows(peaks(probability, 0.95)) == [(0, 2, 1)]


@pytest.mark.parametrize("connectivity", [4, 8])
def test_images_of_a_batch_are_not_connected(connectivity):
    probability = torch.full((3, 2, 2), 0.9)
    probability[1] = 0.1  # an image with nothing found between two that are all found
    assert as_rows(peaks(probability, 0.5, connectivity)) == [(0, 0, 0), (2, 0, 0)]
    assert as_rows(peaks(torch.full((2, 2, 2), 0.9), 0.5, connectivity)) == [(0, 0, 0), (1, 0, 0)]


def test_nothing_found_in_the_whole_batch():
    found = peaks(torch.zeros(2, 4, 4), 0.5)
    assert all(len(column) == 0 for column in found)


def test_anchors_sit_on_the_corner_or_the_middle_of_their_cell():
    row, col = torch.tensor([2]), torch.tensor([5])
    # the corner of cell (2, 5) is x = 20, y = 8; its middle x = 22, y = 10; sides 10 and 6
    assert cell_anchors(row, col, (10, 6), 4, 0.0).tolist() == [[15, 5, 25, 11]]
    assert cell_anchors(row, col, (10, 6), 4, 0.5).tolist() == [[17, 7, 27, 13]]
    assert cell_anchors(row[:0], col[:0], (10, 6), 4, 0.0).shape == (0, 4)
