"""Read the masks of a Cellpose `_seg.npy` without running its pickle.

The file is NumPy's format around a pickled dictionary, and a pickle can name any function to call.
Here every name in it becomes an object that does nothing but keep what it is given; from that the
array `masks` is put together by hand, if it is one of integers in two dimensions.
"""

import ast
import io
import pickle
import struct
from math import prod
from typing import Any

import numpy as np

from nucleist.data.formats.limits import MAX_PIXELS
from nucleist.types import UserError

_MAGIC = b"\x93NUMPY"
_REMEDY = "save the masks in Cellpose as PNG or TIFF (File, Save masks) and give those"
# What the pickle module is known to raise on damaged files.
_DAMAGE = (
    pickle.UnpicklingError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    EOFError,
    ImportError,
    MemoryError,
    OverflowError,
    RecursionError,
    SyntaxError,
    struct.error,
)


class _Inert:
    """Stands for whatever the pickle names: keeps arguments and state, and does nothing."""

    def __new__(cls, *arguments: Any, **_: Any) -> "_Inert":
        made = super().__new__(cls)
        made.arguments, made.state = arguments, ()
        return made

    arguments: tuple[Any, ...]
    state: Any

    def __setstate__(self, state: Any) -> None:
        self.state = state

    # What a pickle may do to objects besides.
    def append(self, _: Any) -> None: ...
    def extend(self, _: Any) -> None: ...
    def add(self, _: Any) -> None: ...
    def __setitem__(self, _: Any, __: Any) -> None: ...


class _Array(_Inert):
    """`numpy._reconstruct`; the state has shape, type, order and bytes."""


class _Buffer(_Inert):
    """`numpy._frombuffer`; the arguments are bytes, type, shape and order."""


class _Type(_Inert):
    """`numpy.dtype`; the first argument is its name, the state begins with version and order."""


class _Bytes(_Inert):
    """`_codecs.encode`, with which old pickles write bytes; the arguments are text and codec."""


_STAND_INS = {
    "_reconstruct": _Array,
    "_frombuffer": _Buffer,
    "dtype": _Type,
    "encode": _Bytes,
}


class _Reader(pickle.Unpickler):
    """An unpickler that imports nothing and calls nothing but the constructors above."""

    def find_class(self, module: str, name: str) -> type:
        known = module.split(".")[0] in ("numpy", "_codecs")
        return _STAND_INS.get(name, _Inert) if known else _Inert

    def persistent_load(self, _: Any) -> Any:
        raise pickle.UnpicklingError("a persistent id")


def read_cellpose(data: bytes, where: str) -> np.ndarray:
    """Read the label map of a `_seg.npy`.

    Args:
        data: Content of the file.
        where: The file, for messages.

    Returns:
        `(H, W)` `int32`, 0 background.

    Raises:
        UserError: If the file is damaged, or has no 2D masks of integers.
    """
    try:
        masks = _masks(_content(data))
    except _DAMAGE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{where}: not a readable _seg.npy ({reason}); {_REMEDY}") from error
    masks = masks.reshape([n for n in masks.shape if n > 1] if masks.ndim > 2 else masks.shape)
    if masks.ndim != 2 or not masks.size:
        raise UserError(f"{where}: masks of shape {masks.shape}, not of one plane; {_REMEDY}")
    if masks.min() < 0 or masks.max() > np.iinfo(np.int32).max:
        raise UserError(f"{where}: mask ids {masks.min()} to {masks.max()}; {_REMEDY}")
    return np.array(masks, np.int32, order="C")


def _content(data: bytes) -> Any:
    """What the pickle of an `.npy` holds, names replaced by inert objects."""
    if not data.startswith(_MAGIC) or len(data) < 12:
        raise ValueError("no NumPy file")
    wide = data[6] > 1
    (length,) = struct.unpack_from("<I" if wide else "<H", data, 8)
    start = (12 if wide else 10) + length
    header = ast.literal_eval(data[start - length : start].decode("latin1").strip())
    if "O" not in str(header["descr"]):
        raise ValueError("an array, not what Cellpose stores")
    return _Reader(io.BytesIO(data[start:])).load()


def _masks(content: Any) -> np.ndarray:
    """The array `masks` of what was unpickled."""
    if isinstance(content, _Array) and isinstance(content.state[4], list):
        (content,) = content.state[4]  # the array without dimensions around the dictionary
    if not isinstance(content, dict) or "masks" not in content:
        raise ValueError("no 'masks' in it")
    masks = content["masks"]
    if isinstance(masks, _Array):
        _, shape, kind, by_column, raw = masks.state
    elif isinstance(masks, _Buffer):
        raw, kind, shape, order = masks.arguments
        by_column = order == "F"
    else:
        raise ValueError("its masks are no array")
    if isinstance(raw, _Bytes):
        raw = str(raw.arguments[0]).encode("latin1")
    dtype = _dtype(kind)
    if not 1 <= len(shape) <= 5 or prod(shape) > MAX_PIXELS or min(shape) < 0:
        raise ValueError(f"masks of shape {shape}")
    if len(raw) != prod(shape) * dtype.itemsize:
        raise ValueError(f"{len(raw)} bytes for masks of shape {shape}")
    return np.frombuffer(raw, dtype).reshape(shape, order="F" if by_column else "C")


def _dtype(kind: Any) -> np.dtype[Any]:
    """The number type that a stand-in describes: integers of 1 to 8 bytes, or truth values."""
    name = str(kind.arguments[0]) if isinstance(kind, _Type) else ""
    if len(name) != 2 or name[0] not in "iub" or name[1] not in "1248":
        raise ValueError(f"masks of type '{name}'")
    big = len(kind.state) > 1 and kind.state[1] == ">"
    return np.dtype(name).newbyteorder(">" if big else "<")
