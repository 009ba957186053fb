"""DIST: the net's size and geometry, and its loss by hand."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import draw
from support.nets import train

from nucleist.config.compose import compose
from nucleist.data.targets import to_target, to_tensor
from nucleist.models import dist
from nucleist.ops.distances import distance_map
from nucleist.training.schedules import staircase
from nucleist.types import UserError


def thin(seed=0, **options):
    torch.manual_seed(seed)
    return dist(width=2, **options)


def test_the_papers_net_has_1_94_million_parameters():
    # Blocks: 9 (a n + n n) kernels and 2 n normalisation values, twice; up: 4 a n + n; head: n + 1.
    widths = [16, 32, 64, 128, 256]
    down = [9 * (a * n + n * n) + 4 * n for a, n in pairwise([3, *widths])]
    up = [4 * a * n + n + 9 * (2 * n * n + n * n) + 4 * n for n, a in pairwise(widths)]
    count = sum(parameter.numel() for parameter in dist().parameters())
    assert count == sum(down) + sum(up) + 17 == 1_942_577


def test_initial_values_are_the_authors():
    torch.manual_seed(0)
    net = dist().unet
    kernel = net.down[2][
        3
    ].weight.detach()  # 64 channels: std 1 / sqrt(9 * 64) = 1 / 24 before the cut
    assert kernel.abs().max() <= 2 / 24
    assert kernel.std() == pytest.approx(0.88 / 24, rel=0.02)  # a normal cut at two deviations
    scales = net.down[4][1].weight.detach()
    assert scales.mean() == pytest.approx(1, abs=0.005)
    assert scales.std() == pytest.approx(0.02, rel=0.2)
    biases = [p for name, p in net.named_parameters() if name.endswith("bias")]
    assert all((bias == 0.1).all() for bias in biases) and len(biases) == 18 + 4 + 1


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_images_of_any_size_and_of_none_in_common(padding):
    net = thin(padding=padding).eval()
    images = [torch.rand(3, 33, 70), torch.rand(3, 1, 40), torch.rand(3, 50, 17)]
    with torch.inference_mode():
        found = net(images)
    assert [f["label_map"].shape for f in found] == [(33, 70), (1, 40), (50, 17)]
    net.train()
    targets = [to_target(np.zeros(image.shape[1:], np.int32)) for image in images]
    losses = net(images, targets)
    assert list(losses) == ["loss_distance"] and torch.isfinite(losses["loss_distance"])


def test_without_padding_the_same_pixels_are_computed():
    # Pooling without padding groups pixels from 2 on (mod 16) of an image that has 92 px around
    # it; the other net groups from 0 on. So the image is shifted by 2, and far from its border,
    # where zeros do not reach, both nets agree.
    valid, same = thin(padding="valid").eval(), thin(padding="same").eval()
    same.load_state_dict(valid.state_dict())
    image = torch.rand(3, 222, 226)
    with torch.inference_mode():
        (first,), (second,) = valid.maps([image]), same.maps([image[:, 2:, 2:]])
    inner = (slice(94, 128), slice(94, 132))
    torch.testing.assert_close(first[2:, 2:][inner], second[inner], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(first[2:, 2:], second, atol=1e-3)


def test_the_loss_by_hand():
    labels = np.zeros((8, 8), np.int32)
    labels[2:5, 2:5] = 1  # a square of 3 px: eight ones around a two
    labels[5:, 7] = 2  # cut by the image: distances 1 everywhere, certain
    net = dist(width=2)
    raw = torch.full((1, 16, 16), 0.5)
    loss = net.losses(raw, [to_target(labels)])["loss_distance"]
    # 64 known pixels: 11 ones and 52 zeros are 0.5 away, the two 1.5. Padding does not count.
    assert loss.item() == pytest.approx((63 * 0.25 + 2.25) / 64)


def test_distances_to_a_border_outside_of_the_image_are_not_learned():
    labels = np.zeros((4, 5), np.int32)
    labels[:, :3] = 1  # distances 3 2 1 0 0 in each row; the edge is 1 away in the first column
    raw = torch.zeros((1, 4, 5))
    loss = dist(width=2).losses(raw, [to_target(labels)])["loss_distance"]
    # Certain are: the ones and zeros of columns 2 to 4, and in the middle rows the 2 of column 1.
    assert loss.item() == pytest.approx((4 * 1 + 2 * 4) / (3 * 4 + 2))


def test_an_image_inside_one_nucleus_gives_no_loss():
    net = thin()
    loss = net([torch.rand(3, 20, 20)], [to_target(np.ones((20, 20), np.int32))])["loss_distance"]
    loss.backward()
    assert loss.item() == 0


def test_scores_say_how_deep_a_basin_is_for_its_outline():
    labels = np.zeros((16, 40), np.int32)
    labels[2:13, 2:13] = 1
    labels[2:13, 20:31] = 2
    distances = distance_map(labels)
    distances[labels == 2] *= 0.5  # half as sure: (1 + 0.5) / 2
    distances[labels == 2] += 0.01  # and its ones stay above the threshold of 0.5
    found, scores = dist(width=2).instances(distances)
    assert found.max() == 2
    assert scores[found[5, 5] - 1] == pytest.approx(1)
    assert scores[found[5, 25] - 1] == pytest.approx(0.75, abs=0.01)


def test_options_reach_the_watershed():
    labels = np.zeros((16, 40), np.int32)
    labels[2:13, 2:13] = 1
    labels[2:13, 13:24] = 2  # touching squares: peaks of 6, a valley of 1
    distances = distance_map(labels)

    def count(**options):
        return dist(width=2, **options).instances(distances)[0].max()

    assert count() == 2
    assert count(h=5) == 1
    assert count(min_size=122) == 0  # 121 px each
    parity = dist(width=2, parity=True).instances(distances)[0]
    assert (parity > 0).sum() == 2 * 110  # a column of 11 less each
    assert (dist(width=2, threshold=1.5).instances(distances)[0] > 0).sum() == 2 * 81


@pytest.mark.parametrize("option", ["padding", "metric"])
def test_an_unknown_option_is_told(option):
    with pytest.raises(UserError, match=rf"model\.{option}=x is unknown; use one of"):
        dist(width=2, **{option: "x"})


@pytest.mark.parametrize("option", ["h", "threshold"])
def test_negative_numbers_are_told(option):
    with pytest.raises(UserError, match=rf"^model\.{option}=-1 is too small; use 0 or more$"):
        dist(width=2, **{option: -1})


@pytest.mark.slow
def test_a_drawn_image_is_learned():
    image, labels = draw((48, 48), 6, 0)
    images, targets = [to_tensor(image)] * 2, [to_target(labels)] * 2
    losses = train(thin(), images, targets, "loss_distance", rate=0.01, steps=30)
    assert np.mean(losses[-5:]) < 0.5 * losses[0]


def test_the_rate_falls_in_stairs():
    factors = [staircase(step, 100, every=10, factor=0.96) for step in (0, 9, 10, 19, 20, 99)]
    assert factors == pytest.approx([1, 1, 0.96, 0.96, 0.9216, 0.96**9])


def test_its_experiment_names_keys_that_exist() -> None:
    config = compose("train", ["experiment=dist_kumar"])
    assert config.model._target_ == "nucleist.models.dist"
    assert config.optim.schedule._target_ == "nucleist.training.schedules.staircase"
    assert config.data.annotation_fraction == 1  # unlabelled nuclei would be background
