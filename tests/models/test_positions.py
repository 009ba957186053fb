"""Maps of nets that predict a number a pixel lie on their images; nuclei come out of them there."""

import numpy as np
import pytest
import torch
from support.drawn import areas, many_discs, middle, middles
from torch import nn

from nucleist.models import dist
from nucleist.ops.distances import METRICS, distance_map


def passing(padding, deep):
    """DIST's U-Net with weights that show where it looks: at one pixel, or at its neighbourhood.

    Args:
        padding: Of the net.
        deep: Whether the maps of the lower levels are shown, not the skip at the first.
    """
    net = dist(width=2, padding=padding).eval()
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data.zero_()
            middle_of_kernel = module.kernel_size[0] // 2
            inputs = slice(None)
            if module.in_channels == 2 * module.out_channels:  # (skip, upsampled)
                half = module.out_channels
                inputs = slice(half, None) if deep else slice(0, half)
            module.weight.data[:, inputs, middle_of_kernel, middle_of_kernel] = 1.0
        elif isinstance(module, nn.ConvTranspose2d):
            module.weight.data.fill_(1.0)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
        if getattr(module, "bias", None) is not None:
            nn.init.zeros_(module.bias)
    return net


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_the_u_net_looks_at_the_pixel_that_it_is_about(padding):
    net = passing(padding, deep=False)
    image = torch.full((3, 50, 70), 0.5)
    image[:, 20, 33] = 1.0
    with torch.inference_mode():
        (values,) = net.maps([image])
    assert values.shape == (50, 70)
    assert values.nonzero().tolist() == [[20, 33]]


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_the_lowest_level_shows_the_block_around_a_pixel(padding):
    """Four poolings: a bright pixel lights up the block of 16 x 16 px that holds it."""
    net = passing(padding, deep=True)
    shifts = []
    for row in range(20, 36):
        image = torch.full((3, 64, 64), 0.5)
        image[:, row, row] = 1.0
        with torch.inference_mode():
            (values,) = net.maps([image])
        lit = values > values.max() / 2
        assert lit[row, row] and lit.sum() == 256
        shifts.append(middle(lit) - (row + 0.5))
    assert np.abs(np.mean(shifts, 0)).max() < 1e-6  # over all pixels of a block


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(2))
def test_perfect_distances_are_the_drawn_nuclei(metric, seed):
    labels, _, sizes = many_discs((64, 96), 32, (4, 14), seed)
    net = dist(width=2, metric=metric)
    found, scores = net.instances(distance_map(labels, metric))
    count = len(sizes)
    assert found.max() == count and (scores > 0.95).all()
    np.testing.assert_array_equal(found > 0, labels > 0)
    for centroid, area in zip(middles(labels, count), areas(labels, count), strict=True):
        apart = np.linalg.norm(middles(found, count) - centroid, axis=1)
        assert apart.min() < 1e-6 and areas(found, count)[apart.argmin()] == area
