"""Batches of images of different sizes, and predictions out of label maps."""

import numpy as np
import pytest
import torch

from nucleist.models.map_net import (
    MapNet,
    mean_in,
    reflected,
    stack,
    stack_target_maps,
    to_prediction,
)
from nucleist.ops.labels import at_threshold


@pytest.mark.parametrize(
    ("length", "before", "after"),
    [(5, 0, 3), (4, 13, 9), (2, 3, 4), (1, 2, 3), (7, 0, 0)],
)
def test_mirrored_positions_are_numpys(length, before, after):
    wanted = np.pad(np.arange(length), (before, after), mode="reflect")
    assert reflected(length, before + length + after, before).tolist() == wanted.tolist()


def test_images_are_stacked_at_the_top_left_and_mirrored():
    images = [torch.rand(3, 33, 5), torch.rand(3, 10, 40)]
    batch = stack(images, 16)
    assert batch.shape == (2, 3, 48, 48)
    for image, padded in zip(images, batch, strict=True):
        height, width = image.shape[1:]
        wanted = np.pad(image, ((0, 0), (0, 48 - height), (0, 48 - width)), mode="reflect")
        np.testing.assert_array_equal(padded, wanted)


def test_sides_are_a_multiple_and_a_rest_within_a_margin():
    # 33 needs 16 * 2 + 4 = 36; 5 needs 20, but at least two multiples are taken: 36.
    batch = stack([torch.rand(3, 33, 5)], 16, rest=4, margin=92)
    assert batch.shape == (1, 3, 36 + 184, 36 + 184)
    image = torch.rand(3, 36, 37)
    batch = stack([image], 16, rest=4, margin=3)
    assert batch.shape == (1, 3, 42, 58)  # 37 needs 52
    assert torch.equal(batch[0, :, 3:39, 3:40], image)
    assert torch.equal(batch[0, :, 2], batch[0, :, 4])  # mirrored at the first row


def test_padding_is_not_known():
    values, known = stack_target_maps([torch.ones(2, 3), torch.full((4, 1), 2)], None, (4, 4))
    assert values.dtype == torch.float32
    assert values.sum((1, 2)).tolist() == [6, 8]
    assert known.sum((1, 2)).tolist() == [6, 4]
    assert torch.equal(known, values > 0)
    _, known = stack_target_maps([torch.ones(1, 2)], [torch.tensor([[True, False]])], (1, 3))
    assert known.tolist() == [[[True, False, False]]]


def test_means_of_nuclei():
    labels = np.array([[1, 1, 0], [2, 0, 2]])
    values = np.array([[0.5, 1.0, 9.0], [0.2, 9.0, 0.6]])
    np.testing.assert_allclose(mean_in(labels, values), [0.75, 0.4])
    assert mean_in(np.zeros((2, 2), int), np.ones((2, 2))).shape == (0,)


def test_predictions_come_best_first():
    labels = np.array([[1, 1, 0, 3], [0, 2, 2, 0], [4, 0, 0, 0]], np.int32)
    found = to_prediction(labels, np.array([0.6, 0.9, 0.6, 0.1]), torch.device("cpu"))
    assert found["scores"].tolist() == pytest.approx([0.9, 0.6, 0.6, 0.1])
    # 2 becomes 1; of the equals 1 and 3 the first stays before the other.
    wanted = [[2, 2, 0, 3], [0, 1, 1, 0], [4, 0, 0, 0]]
    assert found["label_map"].tolist() == wanted
    assert found["label_map"].dtype == torch.int32
    boxes = [[1, 1, 3, 2], [0, 0, 2, 1], [3, 0, 4, 1], [0, 2, 1, 3]]
    assert found["boxes"].tolist() == boxes
    assert at_threshold(found, 0.7).tolist() == [[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]


def test_no_nucleus_is_an_empty_prediction():
    found = to_prediction(np.zeros((3, 4), np.int32), np.zeros(0), torch.device("cpu"))
    assert found["boxes"].shape == (0, 4)
    assert found["scores"].dtype == torch.float32
    assert not found["label_map"].any()


class Red(MapNet):
    """Its map is the red channel, nuclei are single pixels above 1."""

    def raw(self, batch):
        return batch[:, 0]

    def losses(self, raw, targets):
        return {"loss_red": raw.mean()}

    def instances(self, values):
        labels = np.zeros(values.shape, np.int32)
        labels[values > 1] = np.arange(1, (values > 1).sum() + 1)
        return labels, values[values > 1] / 10


def test_maps_have_the_sizes_of_their_images():
    net = Red((0.5, 0.0, 0.0), (0.25, 1.0, 1.0), 16).eval()
    images = [torch.rand(3, 9, 31), torch.rand(3, 40, 1)]
    for values, image in zip(net.maps(images), images, strict=True):
        torch.testing.assert_close(values, (image[0] - 0.5) / 0.25)
    found = net(images)
    assert [f["label_map"].shape for f in found] == [(9, 31), (40, 1)]
    assert len(found[0]["scores"]) == int((images[0][0] > 0.75).sum())
    assert not net.state_dict()  # the scaling is configuration, not weights
