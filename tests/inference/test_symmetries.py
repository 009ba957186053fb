import numpy as np
import pytest
import torch
from support.drawn import many_discs

from nucleist.data.pictures.picture import ArrayPicture
from nucleist.data.targets import to_target
from nucleist.inference.symmetries import SYMMETRIES, outlined_eightfold
from nucleist.inference.tiles.run import Job, outlined
from nucleist.models.otsu import otsu
from nucleist.ops.labels import boxes_of
from nucleist.ops.normalize import FullRange
from nucleist.types import UserError


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


def test_a_job_in_eight_positions_finds_what_one_does_of_a_symmetric_method():
    labels, _, _ = many_discs((48, 64), 24, (4, 9), 1)
    image = np.repeat((labels > 0)[..., None], 3, 2).astype(np.uint8) * np.uint8(200)
    jobs = [Job(otsu(), FullRange(), 0.5, symmetries=number) for number in (1, 8)]
    one, eight = (outlined(job, ArrayPicture(image)) for job in jobs)
    assert len(eight) == len(one) == labels.max()
    assert ((one.labels > 0) == (eight.labels > 0)).mean() > 0.999


@pytest.mark.parametrize("options", [{"symmetries": 4}, {"pieces": 2}])
def test_what_a_job_cannot_be(options):
    (name,) = options
    with pytest.raises(UserError, match=name):
        Job(otsu(), FullRange(), 0.5, **options)
