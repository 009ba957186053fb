import numpy as np
import pytest
import torch

from nucleist.ops.mask_groups import contained_groups, highest, overlaps, without_repeats

SIDE = 24


def lists(*masks):
    """`(H, W)` masks as lists of pixels."""
    mask, pixel = [], []
    for i, one in enumerate(masks):
        found = np.flatnonzero(one)
        mask += [i] * len(found)
        pixel += found.tolist()
    return torch.tensor(mask, dtype=torch.int64), torch.tensor(pixel, dtype=torch.int64)


def square(top, left, high, wide=None):
    mask = np.zeros((SIDE, SIDE), bool)
    mask[top : top + high, left : left + (wide or high)] = True
    return mask


def groups(*masks, ratio=0.5):
    return contained_groups(*lists(*masks), len(masks), ratio).tolist()


def test_a_contained_mask_joins_and_a_touching_one_does_not():
    # 4 x 4 inside 10 x 10; 4 x 4 beside it
    assert groups(square(3, 3, 4), square(0, 0, 10), square(0, 10, 4)) == [1, 1, 2]


def test_half_of_the_smaller_mask_is_enough():
    # 4 x 4 = 16 pixels, of which 8 lie in the 10 x 10 square; then 4 of 16
    assert groups(square(0, 0, 10), square(0, 8, 4)) == [0, 0]
    assert groups(square(0, 0, 10), square(0, 9, 4)) == [0, 1]
    assert groups(square(0, 0, 10), square(0, 9, 4), ratio=0.25) == [0, 0]


def test_the_group_grows():
    # b is rows 0..9. m, 6 x 4, has 3 of its 6 columns in b and joins. s, 2 x 4 = 8 pixels, has
    # none in b and 4 in m, which is in b's group by then.
    b, m, s = square(0, 0, 10), square(0, 7, 4, 6), square(0, 12, 4, 2)
    assert groups(b, m, s) == [0, 0, 0]
    assert groups(b, s) == [0, 1]


def test_parts_in_two_members_count_together_and_shared_pixels_once():
    # m has columns 9..12, 4 x 4. First member ends at 10 (1 column of m), second spans 10..19 and
    # holds 3 columns: two groups; the larger part decides
    a, c, m = square(0, 0, 10), square(0, 10, 9), square(0, 9, 4)
    assert groups(a, c, m) == [0, 1, 1]
    # Members that overlap: both hold the same column of m (4 of 16 pixels): together 4, not 8
    a, c, m = square(0, 0, 10), square(0, 2, 9, 8), square(0, 9, 4)
    assert groups(a, c, m) == [0, 0, 2]
    # Members side by side: a column each, together 8 of 16
    c = square(4, 3, 4, 8)  # 28 of 32 pixels in a; its column 10 is outside
    m = square(4, 9, 4)  # columns 9 (in a) and 10 (in c); 9 is in both
    assert groups(a, c, m) == [0, 0, 0]


def brute(masks, ratio=0.5):
    """The rule with full masks and nested loops."""
    areas = [int(m.sum()) for m in masks]
    order = sorted(range(len(masks)), key=lambda i: (-areas[i], i))
    unions, group = {}, list(range(len(masks)))
    for m in order:
        best, joined = 0.0, None
        for head, union in unions.items():  # in the order in which groups began
            part = (union & masks[m]).sum() / max(areas[m], 1)
            if part >= ratio and part > best:
                best, joined = part, head
        if joined is None:
            unions[m] = masks[m].copy()
        else:
            group[m] = joined
            unions[joined] |= masks[m]
    return group


@pytest.mark.parametrize("seed", range(30))
def test_equals_the_rule_written_with_full_masks(seed):
    rng = np.random.default_rng(seed)
    masks = [
        square(*rng.integers(0, 16, 2), *rng.integers(1, 10, 2)) for _ in range(rng.integers(2, 14))
    ]
    ratio = float(rng.choice([0.3, 0.5, 0.8]))
    assert groups(*masks, ratio=ratio) == brute(masks, ratio)


def test_a_mask_without_pixels_and_no_mask_at_all():
    empty = np.zeros((SIDE, SIDE), bool)
    assert groups(square(0, 0, 5), empty, square(1, 1, 2)) == [0, 1, 0]
    assert groups() == []
    assert groups(empty, empty) == [0, 1]


def test_overlaps_are_the_shared_pixels():
    table = overlaps(*lists(square(0, 0, 10), square(0, 8, 4), square(20, 20, 2)), 3).toarray()
    assert table.tolist() == [[100, 8, 0], [8, 16, 0], [0, 0, 4]]


def test_the_highest_value_has_the_pixel():
    # masks 0 and 1 share the pixels 1 and 2
    mask, pixel = torch.tensor([0, 0, 0, 1, 1, 1]), torch.tensor([0, 1, 2, 1, 2, 3])
    value = torch.tensor([-0.1, -0.1, -0.3, -0.2, -0.2, -0.5])
    assert highest(mask, pixel, value, 5).tolist() == [0, 0, 1, 1, -1]
    same = torch.zeros(6)
    assert highest(mask, pixel, same, 5).tolist() == [0, 0, 0, 1, -1]
    none = torch.zeros(0, dtype=torch.int64)
    assert highest(none, none, torch.zeros(0), 3).tolist() == [-1, -1, -1]


def test_repeats_of_other_tiles_are_dropped():
    nucleus, shifted, other = square(0, 0, 8), square(1, 0, 8), square(0, 12, 8)
    scores = torch.tensor([0.8, 0.9, 0.7])
    where = lists(nucleus, shifted, other)
    # 56 shared pixels of 64: the better score stays
    kept = without_repeats(*where, scores, torch.tensor([0, 1, 1]))
    assert kept.tolist() == [False, True, True]
    # two masks of one tile are for P to join
    kept = without_repeats(*where, scores, torch.tensor([0, 0, 1]))
    assert kept.tolist() == [True, True, True]
