"""What stands out from noise, and what does not."""

import numpy as np
import pytest

from nucleist.inference.structure import has_structure


def drawn(count: int, noise: float, bright: float, side: int = 256) -> np.ndarray:
    """Disks of radius 8 on noise."""
    rng = np.random.default_rng(count)
    plane = rng.normal(30, noise, (side, side))
    y, x = np.mgrid[:side, :side]
    for cy, cx in rng.uniform(12, side - 12, (count, 2)):
        plane[(y - cy) ** 2 + (x - cx) ** 2 < 64] += bright
    return plane.clip(0, 255)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_nuclei_are_structure(kind: type) -> None:
    for count, noise, bright in ((1, 4, 60), (40, 4, 60), (5, 0, 20), (20, 10, 40)):
        plane = drawn(count, noise, bright).astype(kind)
        assert has_structure(np.repeat(plane[..., None], 3, 2)), (count, noise, bright)
    one = np.zeros((256, 256, 3), kind)  # in a single channel
    one[..., 2] = drawn(10, 4, 80)
    assert has_structure(one)
    assert has_structure(255 - one)


def test_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    slope = np.linspace(0, 100, 256)[None].repeat(256, 0)
    noise = rng.normal(0, 4, (256, 256))
    hot = noise.copy()
    hot[rng.integers(0, 256, 60), rng.integers(0, 256, 60)] = 3000
    for plane in (noise, noise + slope, slope, np.zeros((256, 256)), hot, noise[:10, :10]):
        assert not has_structure(np.repeat(plane[..., None], 3, 2))
    full = rng.integers(0, 255, (300, 200, 3), np.uint8)
    assert not has_structure(full)
