"""Trained runs, thin nets and small drawn images that the tests of several folders share."""

import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.draw import ellipse
from support import runs

from nucleist.data.targets import to_target, to_tensor
from nucleist.models import compact_fpn, mask_rcnn, mask_rcnn_pa

BACKBONE = {"channels": 16, "stem": 8, "widths": (16, 24, 32), "extra_level": True}
CONFIG = {
    "anchor_sizes": [[12], [24], [40], [64]],
    "anchor_ratios": [0.7, 1.0, 1.4],
    "box_head": 32,
    "mask_head": [16, 16],
    "roi_levels": ["0", "1", "2"],
    "caps_area": None,
    "rpn": {
        "batch_size_per_image": 64,
        "pre_nms_top_n": {"training": 200, "testing": 200},
        "post_nms_top_n": {"training": 60, "testing": 30},
    },
    "roi": {"batch_size_per_image": 48, "positive_fraction": 0.34},
}
TRANSFORM = {
    "min_size": None,
    "max_size": 200,
    "image_mean": [0.2, 0.25, 0.3],
    "image_std": [0.25, 0.25, 0.3],
    "max_lost": 1.0,
}


@pytest.fixture(autouse=True, scope="session")
def interruptible():
    """Ctrl-C reaches tests that send it, also where a shell in the background ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def pa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of partial-annotation Mask R-CNN, with centres; do not change it."""
    return runs.shared(tmp_path_factory, runs.PA)


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of Mask R-CNN, tested on both of its test images; do not change it."""
    return runs.shared(tmp_path_factory, runs.PLAIN)


@pytest.fixture(scope="session")
def canonical(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the canonical-shape net, with parameters of the shapes; do not change it."""
    return runs.shared(tmp_path_factory, runs.CANONICAL)


@pytest.fixture
def make_net():
    """Build a thin compact net: `make_net(pa=True, seed=0, attention=["p2"], ...)`."""

    def make(pa=False, seed=0, attention=(), center=None, transform=None, **options):
        torch.manual_seed(seed)
        backbone = compact_fpn(attention, **BACKBONE)
        options = {**CONFIG, **options, "transform": {**TRANSFORM, **(transform or {})}}
        if not pa:
            return mask_rcnn(backbone, **options)
        center = {"anchor_size": [16, 16], "unknown_ratio": 0.0, **(center or {})}
        # The drawn targets do not say what is known, so all their background would be certain.
        options = {"certain_background": False, **options}
        return mask_rcnn_pa(backbone, center, **options)

    return make


def draw(shape, count, seed):
    """Ellipses with half axes of 3 to 9 px, the later on top, as image and label map."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.int32)
    for i in range(count):
        half = rng.uniform(3, 9, 2)
        rows, cols = ellipse(*rng.uniform(0, shape), *half, shape=shape)
        labels[rows, cols] = i + 1
    image = 0.1 + 0.5 * (labels > 0)[..., None] + rng.uniform(0, 0.2, (*shape, 3))
    return image.astype(np.float32), labels


@pytest.fixture
def make_batch():
    """Draw images and targets: `make_batch((64, 64), (48, 80), count=5, seed=0)`."""

    def make(*shapes, count=5, seed=0):
        drawn = [draw(shape, count, seed + i) for i, shape in enumerate(shapes)]
        return [to_tensor(image) for image, _ in drawn], [to_target(labels) for _, labels in drawn]

    return make
