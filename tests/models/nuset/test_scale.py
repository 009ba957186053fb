"""Images enlarged for NuSeT, and labels taken back."""

import numpy as np
import pytest
import torch
from conftest import draw

from nucleist.data.targets import UNKNOWN, to_target, to_tensor
from nucleist.models import nuset
from nucleist.models.nuset.scale import enlarged, enlarged_target, taken_back
from nucleist.types import UserError

SMALL = {"rpn": {"min_score": 0.4}, "seed_border": 0, "min_area": 1}


def test_twice_the_size_and_back_is_the_same():
    image, labels = draw((30, 41), 6, 0)
    target = to_target(np.where(labels % 2, labels, 0))
    assert enlarged(to_tensor(image), 2).shape == (3, 60, 82)
    found = enlarged_target(target, (60, 82))
    assert (
        found["label_map"].numpy().tolist()
        == np.kron(target["label_map"], np.ones((2, 2))).tolist()
    )
    assert found["boxes"].equal(2 * target["boxes"]) and found.keys() == target.keys()
    back, kept = taken_back(found["label_map"].numpy(), (30, 41))
    assert (back == target["label_map"].numpy()).all()
    assert kept.tolist() == list(range(1, len(target["boxes"]) + 1))
    assert enlarged_target(target, (30, 41)) is target


def test_what_is_not_known_stays_so():
    labels = np.full((6, 8), UNKNOWN, np.int32)
    labels[2:4, 3:6] = 5
    found = enlarged_target(to_target(labels), (12, 16))
    assert found["known"].equal(found["label_map"] > 0) and found["known"].dtype == torch.bool


def test_a_nucleus_that_loses_its_last_pixel_is_none():
    labels = np.zeros((8, 8), np.int32)
    labels[0, 0], labels[2:8, 2:8] = 1, 2
    small = enlarged_target(to_target(labels), (4, 4))
    assert small["label_map"].max() == 1 and len(small["boxes"]) == 1
    back, kept = taken_back(labels, (4, 4))
    assert kept.tolist() == [2] and back.max() == 1


@pytest.mark.parametrize("scale", [2.0, 1.5, 0.5])
def test_a_scaled_net_learns_and_finds_nuclei_of_the_image_s_own_size(scale):
    torch.manual_seed(0)
    net = nuset(width=2, scale=scale, **SMALL)
    image, labels = draw((37, 53), 4, 1)
    losses = net.train()([to_tensor(image)], [to_target(labels)])
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    (found,) = net.eval()([to_tensor(image)])
    assert found["label_map"].shape == (37, 53)
    numbers = found["label_map"].unique()
    assert numbers[numbers > 0].tolist() == list(range(1, len(found["scores"]) + 1))


def test_the_scaled_net_is_the_net_on_a_scaled_image():
    torch.manual_seed(0)
    net = nuset(width=2, **SMALL).eval()
    image = to_tensor(draw((32, 48), 5, 2)[0])
    (whole,) = net([enlarged(image, 2)])
    net.scale = 2.0
    (found,) = net([image])
    assert ((whole["label_map"][1::2, 1::2] > 0) == (found["label_map"] > 0)).all()


def test_a_scale_that_is_none_is_refused():
    with pytest.raises(UserError, match=r"model\.scale=0 is not above 0"):
        nuset(width=2, scale=0)
