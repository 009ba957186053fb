"""Data sets of labelled images, partial annotation, and the data module.

Names are imported when they are first used: listing data sets needs neither torch nor Lightning.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nucleist.data.annotation import Annotation
    from nucleist.data.caches import InMemory, Prepared
    from nucleist.data.formats.manifest import read_manifest, write_manifest
    from nucleist.data.module import NucleiData
    from nucleist.data.readers.bbbc038 import BBBC038
    from nucleist.data.readers.dh100 import DH100
    from nucleist.data.readers.folder import Folder
    from nucleist.data.readers.folds import ByGroup
    from nucleist.data.readers.kumar import Kumar
    from nucleist.data.readers.synthetic import Synthetic
    from nucleist.data.readers.tiles import Tiles
    from nucleist.data.readers.tnbc import TNBC
    from nucleist.data.transforms import flips, light, strong, wide

__all__ = [
    "BBBC038",
    "DH100",
    "TNBC",
    "Annotation",
    "ByGroup",
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
    "wide",
    "write_manifest",
]

_MODULES = {
    **{"BBBC038": "readers.bbbc038", "DH100": "readers.dh100", "TNBC": "readers.tnbc"},
    **{"Folder": "readers.folder", "Kumar": "readers.kumar", "Tiles": "readers.tiles"},
    **{"ByGroup": "readers.folds"},
    **{"Synthetic": "readers.synthetic", "InMemory": "caches", "Prepared": "caches"},
    **{"Annotation": "annotation", "NucleiData": "module"},
    **{"read_manifest": "formats.manifest", "write_manifest": "formats.manifest"},
    **dict.fromkeys(("flips", "light", "strong", "wide"), "transforms"),
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
