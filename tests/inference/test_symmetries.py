import numpy as np
import pytest
import torch
from support.drawn import many_discs

from nucleist.data.targets import to_target
from nucleist.inference.symmetries import SYMMETRIES, outlined_eightfold
from nucleist.models.otsu import otsu
from nucleist.ops.labels import boxes_of


@pytest.mark.parametrize("symmetry", SYMMETRIES, ids=str)
def test_maps_and_boxes_return_to_where_they_were(symmetry):
    labels, _, _ = many_discs((40, 64), 24, (4, 9), 0)
    target = to_target(labels)
    turned = np.ascontiguousarray(symmetry.of(labels))
    assert (symmetry.undo(turned) == labels).all()
    boxes = boxes_of(torch.from_numpy(turned), labels.max()).numpy()
    assert symmetry.undo_boxes(boxes, labels.shape) == pytest.approx(target["boxes"].numpy())


def test_the_eight_are_different():
    image = np.arange(9).reshape(3, 3)
    assert len({symmetry.of(image).tobytes() for symmetry in SYMMETRIES}) == 8


def test_a_symmetric_method_finds_the_same_in_all_positions():
    labels, _, _ = many_discs((48, 64), 24, (4, 9), 1)
    image = np.repeat((labels > 0)[..., None], 3, 2).astype(np.float32)
    prediction, votes = outlined_eightfold(otsu(), image)
    assert (prediction["label_map"].numpy() > 0).sum() == (labels > 0).sum()
    assert len(prediction["scores"]) == labels.max()
    assert votes.votes.tolist() == [8] * labels.max()
    assert votes.agreement.min() > 0.99
