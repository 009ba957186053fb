"""Trained models that the tests of this folder look at; do not change their folders."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import runs


@pytest.fixture(scope="session")
def pa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of partial-annotation Mask R-CNN, with attention and centres."""
    return runs.shared(tmp_path_factory, runs.PA)


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of Mask R-CNN without the module."""
    return runs.shared(tmp_path_factory, runs.PLAIN)


@pytest.fixture(scope="session")
def canonical(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the canonical-shape net, with parameters of the shapes."""
    return runs.shared(tmp_path_factory, runs.CANONICAL)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A file with two nuclei beside which there are no labels."""
    pixels = np.full((64, 64, 3), 20, np.uint8)
    pixels[8:24, 8:24] = pixels[40:56, 30:46] = 200
    path = tmp_path / "mine.png"
    Image.fromarray(pixels).save(path)
    return path
