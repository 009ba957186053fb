"""Sources of labelled images, partial annotation, and the data module."""

from karyon.data.annotation import Annotation
from karyon.data.bbbc038 import BBBC038
from karyon.data.cache import InMemory, Prepared
from karyon.data.dh100 import DH100
from karyon.data.folder import Folder
from karyon.data.kumar import Kumar
from karyon.data.manifest import read_manifest, write_manifest
from karyon.data.module import NucleiData
from karyon.data.synthetic import Synthetic
from karyon.data.tiles import Tiles
from karyon.data.tnbc import TNBC
from karyon.data.transforms import flips, light, strong

__all__ = [
    "BBBC038",
    "DH100",
    "TNBC",
    "Annotation",
    "Folder",
    "InMemory",
    "Kumar",
    "NucleiData",
    "Prepared",
    "Synthetic",
    "Tiles",
    "flips",
    "light",
    "read_manifest",
    "strong",
    "write_manifest",
]
