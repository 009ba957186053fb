"""Judge what the header of a TIFF claims by the file's length, before anything is decoded.

A TIFF of 3 kB may claim 13 million rows in as many strips, or tiles of gigabytes; a decoder
believes it and works for minutes. Here each directory (IFD) is read once: the tags that decide
how much is decoded have to be whole numbers inside the file, there has to be an offset for each
strip or tile, and no codec may have to unpack more than it can from so many bytes.

Source: TIFF 6.0 (Adobe, 1992); BigTIFF (AWare Systems, 2007).
"""

import struct
from collections.abc import Iterator, Sequence
from math import ceil, prod
from mmap import mmap

import numpy as np

from nucleist.data.formats.limits import MAX_PIXELS, check_size

_INTEGERS = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}  # types of the tags below
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _SAMPLES, _ROWS, _PLANAR = 256, 257, 258, 259, 277, 278, 284
_STRIPS, _STRIP_BYTES, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES = 273, 279, 322, 323, 324, 325
_DEPTH, _TILE_DEPTH = 32997, 32998
_SINGLE = (_WIDTH, _HEIGHT, _COMPRESSION, _SAMPLES, _ROWS, _PLANAR, _TILE_WIDTH, _TILE_HEIGHT)
_NEEDED = {*_SINGLE, _BITS, _STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES, _DEPTH, _TILE_DEPTH}
_WHOLE = 2**32 - 1  # rows of a strip where the tag is missing: all

_RATIO = {1: 1, 5: 1500, 8: 1100, 32773: 128, 32946: 1100}
"""How many times its size a codec can unpack, by compression: LZW 1365, deflate 1032."""

_OTHER_RATIO = 30_000
"""Of other codecs: some store a blank image of any size in a few bytes."""

Tags = dict[int, Sequence[int]]


def check_header(data: bytes | mmap, where: str, most: int = MAX_PIXELS) -> None:
    """Raise where the header of a TIFF claims what its file cannot hold.

    Args:
        data: Content of the file, beginning with the mark of a TIFF.
        where: The file, for messages.
        most: Largest number of pixels that it may claim.

    Raises:
        UserError: If it claims too many pixels for any file.
        ValueError: If a directory or a tag lies outside the file, directories overlap, strips or
            tiles are missing, or pixels would not come from so few bytes.
        struct.error: If the file ends within its header.
    """
    for tags in _directories(data):
        check_size(tags.get(_HEIGHT, [0])[0], tags.get(_WIDTH, [0])[0], where, most)
        _check_pixels(tags, len(data))


def _directories(data: bytes | mmap) -> Iterator[Tags]:
    """The needed tags of each directory."""
    order = "<" if data[:2] == b"II" else ">"
    big = 43 in data[2:4]
    count_code, entry_code, next_code = ("Q", "HHQ8s", "Q") if big else ("H", "HHI4s", "I")
    entry, inline = struct.Struct(order + entry_code), 8 if big else 4
    (at,) = struct.unpack_from(order + next_code, data, 8 if big else 4)
    room = len(data)  # directories that do not overlap fit into the file
    while at:
        (count,) = struct.unpack_from(order + count_code, data, at)
        start = at + struct.calcsize(order + count_code)
        end = start + count * entry.size
        room -= end - at
        if room < 0 or end > len(data):
            raise ValueError(f"{count} tags at byte {at} of {len(data)}")
        tags: Tags = {}
        for code, kind, length, value in entry.iter_unpack(data[start:end]):
            if code in _NEEDED:
                tags[code] = _numbers(data, order, (code, kind, length, value), inline)
        yield tags
        (at,) = struct.unpack_from(order + next_code, data, end)


def _numbers(
    data: bytes | mmap, order: str, tag: tuple[int, int, int, bytes], inline: int
) -> Sequence[int]:
    code, kind, count, value = tag
    if kind not in _INTEGERS or not count:
        raise ValueError(f"tag {code} has type {kind} and {count} values")
    dtype = np.dtype(order + _INTEGERS[kind])
    size, offset = count * dtype.itemsize, 0
    source: bytes | mmap = value
    if size > inline:
        (offset,) = struct.unpack(order + ("Q" if inline == 8 else "I"), value)
        source = data
    if offset + size > len(source):
        raise ValueError(f"tag {code} claims {count} values in a file of {len(data)} bytes")
    if code in _SINGLE:
        count = 1
    return np.frombuffer(source, dtype, count, offset).tolist()


def _check_pixels(tags: Tags, length: int) -> None:
    """Raise if an image has fewer strips or tiles, or fewer bytes, than it needs."""
    width, height = tags.get(_WIDTH, [0])[0], tags.get(_HEIGHT, [0])[0]
    tiled = _TILE_WIDTH in tags or _TILES in tags
    offsets, bytes_of = (_TILES, _TILE_BYTES) if tiled else (_STRIPS, _STRIP_BYTES)
    if not width or not height or offsets not in tags:
        return  # no image: whoever wants to read one finds that out
    depth = tags.get(_DEPTH, [1])[0]
    if tiled:
        chunk = [tags.get(code, [1])[0] for code in (_TILE_DEPTH, _TILE_HEIGHT, _TILE_WIDTH)]
    else:
        chunk = [1, min(tags.get(_ROWS, [_WHOLE])[0], height), width]
    if not depth or not all(chunk):
        raise ValueError("a strip or tile without pixels")
    samples = tags.get(_SAMPLES, [1])[0]
    planes = samples if tags.get(_PLANAR, [1])[0] == 2 else 1
    grid = [ceil(a / b) for a, b in zip((depth, height, width), chunk, strict=True)]
    needed = prod(grid) * planes
    if needed > len(tags[offsets]):
        raise ValueError(
            f"{height} x {width} pixels in {needed} parts, of which {len(tags[offsets])} are there"
        )
    _check_bytes(tags, prod(chunk) * needed * (samples // planes), bytes_of, length)


def _check_bytes(tags: Tags, values: int, bytes_of: int, length: int) -> None:
    """Raise if so many values do not come from the bytes of the parts, or of the file."""
    packed = min(sum(tags.get(bytes_of, [length])) or length, length)
    ratio = _RATIO.get(tags.get(_COMPRESSION, [1])[0], _OTHER_RATIO)
    if ratio == 1:
        packed = length  # the counts of uncompressed parts are often wrong, and not needed
    unpacked = values * max(tags.get(_BITS, [1])) // 8
    if unpacked > packed * ratio:
        raise ValueError(f"claims {unpacked} bytes of pixels in {packed}")
