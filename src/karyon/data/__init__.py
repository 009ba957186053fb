"""Sources of labelled images, partial annotation, and the data module."""

from karyon.data.bbbc038 import BBBC038
from karyon.data.dh100 import DH100
from karyon.data.folder import Folder
from karyon.data.kumar import Kumar
from karyon.data.module import NucleiData
from karyon.data.synthetic import Synthetic
from karyon.data.tnbc import TNBC
from karyon.data.transforms import flips, light, strong

__all__ = [
    "BBBC038",
    "DH100",
    "TNBC",
    "Folder",
    "Kumar",
    "NucleiData",
    "Synthetic",
    "flips",
    "light",
    "strong",
]
