"""Sources of labelled images, partial annotation, and the data module."""

from nucleist.data.annotation import Annotation
from nucleist.data.manifest import read_manifest, write_manifest
from nucleist.data.module import NucleiData
from nucleist.data.readers.bbbc038 import BBBC038
from nucleist.data.readers.cache import InMemory, Prepared
from nucleist.data.readers.dh100 import DH100
from nucleist.data.readers.folder import Folder
from nucleist.data.readers.kumar import Kumar
from nucleist.data.readers.synthetic import Synthetic
from nucleist.data.readers.tiles import Tiles
from nucleist.data.readers.tnbc import TNBC
from nucleist.data.transforms import flips, light, strong

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
