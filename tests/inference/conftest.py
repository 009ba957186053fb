"""What the tests of inference share."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A file with two nuclei beside which there are no labels."""
    pixels = np.full((64, 64, 3), 20, np.uint8)
    pixels[8:24, 8:24] = pixels[40:56, 30:46] = 200
    path = tmp_path / "mine.png"
    Image.fromarray(pixels).save(path)
    return path
