"""Sources of labelled images, partial annotation, and the data module."""

from karyon.data.bbbc038 import BBBC038
from karyon.data.module import NucleiData
from karyon.data.synthetic import Synthetic
from karyon.data.transforms import flips, light, strong

__all__ = ["BBBC038", "NucleiData", "Synthetic", "flips", "light", "strong"]
