"""COCO annotations: run-length codes (RLE) and polygons to label maps, and masks to RLE.

The RLE of the COCO data set (Lin et al., ECCV 2014) counts pixels column by column, in turn of
background and of the object, background first. Its compressed form writes each count as
characters of 6 bits (ASCII 48 upwards): 5 bits of the number, least significant first, and one
that is set if more follow; the top bit of the last 5 is the sign. From the third count of an
object onwards the difference to the count before last is written.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nucleist.data.formats.limits import MAX_PIXELS, is_outline
from nucleist.data.formats.traced import Corrected, Corrections
from nucleist.data.outlines import Shape, compose, crop, fill, union
from nucleist.types import UserError

_OFFSET, _BITS, _MORE, _SIGN = 48, 0x1F, 0x20, 0x10


@dataclass(frozen=True)
class CocoImage:
    """One image of a COCO file.

    Attributes:
        file_name: As written in the file.
        height: Pixels.
        width: Pixels.
        annotations: Of this image, in file order, as they came from JSON.
    """

    file_name: str
    height: int
    width: int
    annotations: list[Mapping[str, Any]] = field(default_factory=list)


def load_coco(data: bytes, where: str) -> list[CocoImage]:
    """Read a COCO file: its images, each with its annotations.

    Args:
        data: Content of the file.
        where: The file, for messages.

    Raises:
        UserError: If it is not JSON or not a COCO file, or an annotation has no image.
    """
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: broken JSON ({error}); copy the file again") from error
    try:
        images = {}
        for entry in content["images"]:
            size = (int(entry["height"]), int(entry["width"]))
            if entry["id"] in images:
                raise UserError(f"{where}: two images with id {entry['id']}; number them anew")
            if min(size) < 1 or size[0] * size[1] > MAX_PIXELS:
                raise UserError(f"{where}: image {entry['id']} claims {size} pixels; correct it")
            images[entry["id"]] = CocoImage(str(entry["file_name"]), *size)
        for annotation in content["annotations"]:
            if annotation["image_id"] not in images:
                raise UserError(
                    f"{where}: annotation {annotation.get('id')} is of image "
                    f"{annotation['image_id']}, which is not listed; correct or delete it"
                )
            images[annotation["image_id"]].annotations.append(annotation)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise UserError(
            f"{where}: not a COCO file ({type(error).__name__}: {error}); it needs images (id, "
            "file_name, height, width) and annotations (image_id, segmentation)"
        ) from error
    return list(images.values())


def label_map(
    image: CocoImage, where: str, shape: tuple[int, int]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Paint the annotations of an image; the k-th that is no crowd gets the id k.

    Overlaps: see `nucleist.data.outlines`. Crowds (`iscrowd`), which outline no single nucleus, and
    annotations without pixels are left out, with a note.

    Args:
        image: From `load_coco`.
        where: The file, for messages.
        shape: Height and width of the image file, pixels.

    Returns:
        `(height, width)` `int32` label map, and the notes.

    Raises:
        UserError: If a segmentation cannot be read, or the image has another size.
    """
    nuclei, notes, _ = read_corrected_coco(image, where, shape)
    labels, overlaps = compose(shape, [nucleus.shape for nucleus in nuclei])
    return labels, (*notes, *overlaps)


def read_corrected_coco(image: CocoImage, where: str, shape: tuple[int, int]) -> Corrections:
    """Read each nucleus by itself, as `label_map`, with the identity that it was exported with.

    Args:
        image: From `load_coco`.
        where: The file, for messages.
        shape: Height and width of the image file, pixels.

    Raises:
        UserError: As `label_map`.
    """
    if (image.height, image.width) != shape:
        raise UserError(
            f"{where}: labels of {image.height} x {image.width} pixels for {image.file_name} of "
            f"{shape[0]} x {shape[1]}; replace them by the labels of that image"
        )
    single = [a for a in image.annotations if not a.get("iscrowd")]
    notes: list[str] = []
    nuclei: list[Corrected] = []
    if crowds := len(image.annotations) - len(single):
        notes.append(f"{crowds} crowd annotations (iscrowd) were left out")
    for number, annotation in enumerate(single, 1):
        name = f"annotation {annotation.get('id', number)}"
        if nucleus := _shape(annotation, image, number, f"{where}: {name}"):
            about = annotation.get("attributes")
            uuid = about.get("uuid") if isinstance(about, Mapping) else None
            nuclei.append(Corrected(nucleus, str(uuid or "")))
        else:
            notes.append(f"{name} holds no pixel and was left out")
    return Corrections(nuclei, notes)


def _shape(
    annotation: Mapping[str, Any], image: CocoImage, number: int, where: str
) -> Shape | None:
    segmentation = annotation.get("segmentation")
    shape = (image.height, image.width)
    if isinstance(segmentation, Mapping):
        size = segmentation.get("size")
        if size != list(shape):
            raise UserError(f"{where}: RLE of size {size}, image of {list(shape)}; correct it")
        return crop(decode_rle(segmentation, where), number)
    if not isinstance(segmentation, list):
        raise UserError(f"{where}: no segmentation; it needs an RLE or polygons")
    parts = [fill(_polygon(points, where), shape, number) for points in segmentation]
    return union([part for part in parts if part is not None])


def _polygon(points: Any, where: str) -> np.ndarray:
    try:
        vertices = np.array(points, np.float64).reshape(-1, 2)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{where}: polygon that is not a list x, y, x, y, ...; correct it"
        ) from error
    if len(vertices) < 3 or not is_outline(vertices):
        raise UserError(f"{where}: polygon of {len(vertices)} vertices; it needs 3 in the image")
    return vertices


def encode_rle(mask: np.ndarray, compressed: bool = True) -> dict[str, Any]:
    """Encode a mask, `(H, W)` `bool`, as COCO's RLE.

    Returns:
        `{"size": [H, W], "counts": ...}`, counts as a string, or as a list if not `compressed`.
    """
    column_major = np.asarray(mask, bool).ravel(order="F")
    edges = np.flatnonzero(np.diff(column_major, prepend=False))
    counts = np.diff(edges, prepend=0, append=len(column_major)).tolist()
    size = [int(mask.shape[0]), int(mask.shape[1])]
    return {"size": size, "counts": compress(counts) if compressed else counts}


def decode_rle(rle: Mapping[str, Any], where: str) -> np.ndarray:
    """Decode COCO's RLE, compressed or not.

    Args:
        rle: `{"size": [H, W], "counts": string or list}`.
        where: File and annotation, for messages.

    Returns:
        `(H, W)` `bool`.

    Raises:
        UserError: If counts and size do not agree, or the counts are not numbers.
    """
    try:
        height, width = (int(n) for n in rle["size"])
        counts = rle["counts"]
        if isinstance(counts, bytes):
            counts = counts.decode("ascii")
        if isinstance(counts, str):
            counts = _decompress(counts)
        runs = np.array(counts, np.int64).reshape(-1)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{where}: broken RLE ({error}); it needs size and counts") from error
    total = height * width
    claimed = sum(runs.tolist())  # exact: sums beyond 64 bits come round to small ones
    if min(height, width) < 0 or total > MAX_PIXELS or (runs < 0).any() or claimed != total:
        raise UserError(
            f"{where}: RLE of {claimed} pixels for a size of {height} x {width}; correct it"
        )
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def compress(counts: Sequence[int]) -> str:
    """The compressed form of an object's counts, as the module's text describes."""
    characters = []
    for i, count in enumerate(counts):
        number = count - counts[i - 2] if i > 2 else count
        more = True
        while more:
            bits = number & _BITS
            number >>= 5
            more = number != (-1 if bits & _SIGN else 0)
            characters.append(chr((bits | (_MORE if more else 0)) + _OFFSET))
    return "".join(characters)


def _decompress(text: str) -> list[int]:
    counts: list[int] = []
    number, shift = 0, 0
    for character in text:
        code = ord(character) - _OFFSET
        if not 0 <= code < 64 or shift > 50:
            raise ValueError(f"'{character}' in counts")
        number |= (code & _BITS) << shift
        shift += 5
        if code & _MORE:
            continue
        if code & _SIGN:
            number -= 1 << shift
        counts.append(number + counts[-2] if len(counts) > 2 else number)
        number, shift = 0, 0
    if shift:
        raise ValueError("counts end in the middle of a number")
    return counts
