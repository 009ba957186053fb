"""Label maps against loops over single nuclei."""

import pytest
import torch
from torchvision.ops import masks_to_boxes

from nucleist.ops.labels import at_threshold, boxes_of, keep_ids, relabel

BIG = 2**24 - 1
"""An id beyond 8 and 16 bits, the largest odd one that float32 still holds."""


def speckle(seed, size=(23, 31), ids=(0, 0, 0, 3, 7, 300, 70000, BIG)):
    """Scattered pixels of nuclei with gaps between their ids."""
    pick = torch.randint(len(ids), size, generator=torch.Generator().manual_seed(seed))
    return torch.tensor(ids)[pick].to(torch.int32)


@pytest.mark.parametrize("seed", range(3))
def test_relabel_numbers_ids_in_their_order(seed):
    label_map = speckle(seed)
    new, ids = relabel(label_map)
    assert new.dtype == torch.int32
    assert ids.tolist() == [3, 7, 300, 70000, BIG]
    assert torch.equal(new == 0, label_map == 0)
    for i, old in enumerate(ids.tolist()):
        assert torch.equal(new == i + 1, label_map == old)


def test_relabel_without_background_and_without_nuclei():
    new, ids = relabel(torch.tensor([[9, 4]], dtype=torch.int32))
    assert new.tolist() == [[2, 1]] and ids.tolist() == [4, 9]
    new, ids = relabel(torch.zeros(4, 5, dtype=torch.int32))
    assert not new.any() and len(ids) == 0
    new, ids = relabel(torch.zeros(0, 5, dtype=torch.int32))
    assert new.shape == (0, 5) and len(ids) == 0


@pytest.mark.parametrize("seed", range(3))
def test_boxes_are_those_of_the_masks(seed):
    label_map, ids = relabel(speckle(seed))
    masks = torch.stack([label_map == i + 1 for i in range(len(ids))])
    inclusive = masks_to_boxes(masks)  # torchvision's right and bottom pixel are inside
    exclusive = inclusive + torch.tensor([0, 0, 1, 1])
    assert torch.equal(boxes_of(label_map, len(ids)), exclusive)


def test_boxes_of_one_pixel_and_of_nothing():
    label_map = torch.zeros(64, 48, dtype=torch.int32)
    label_map[63, 47] = 1  # the last pixel: its box ends at the image's border
    assert boxes_of(label_map, 1).tolist() == [[47, 63, 48, 64]]
    assert boxes_of(torch.zeros(8, 8, dtype=torch.int32), 0).shape == (0, 4)


def test_keep_ids_erases_without_renumbering():
    label_map = torch.tensor([[0, 1, 2], [3, 2, 1]], dtype=torch.int32)
    kept = keep_ids(label_map, torch.tensor([True, False, True]))
    assert kept.tolist() == [[0, 1, 0], [3, 0, 1]] and kept.dtype == torch.int32
    assert label_map.tolist() == [[0, 1, 2], [3, 2, 1]]


def test_at_threshold_erases_the_scores_that_are_not_higher():
    prediction = {
        "boxes": torch.zeros(3, 4),
        "scores": torch.tensor([0.9, 0.5, 0.3]),
        "label_map": torch.tensor([[0, 1, 2, 3]], dtype=torch.int32),
    }
    assert at_threshold(prediction, 0.0).tolist() == [[0, 1, 2, 3]]
    assert at_threshold(prediction, 0.5).tolist() == [[0, 1, 0, 0]]
    assert at_threshold(prediction, 0.9999).tolist() == [[0, 0, 0, 0]]
    assert prediction["label_map"].tolist() == [[0, 1, 2, 3]]
