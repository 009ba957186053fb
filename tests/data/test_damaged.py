"""Damaged and hostile files: one line for the user, within moments, whatever they claim."""

import io
import json
import struct
import time
import zipfile
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import tifffile
from PIL import Image
from roifile import ImagejRoi

from nucleist.data.formats.aperio import read_aperio
from nucleist.data.formats.coco import label_map, load_coco
from nucleist.data.formats.imagej import read_rois
from nucleist.data.formats.images import read_image
from nucleist.data.formats.label_maps import read_label_map
from nucleist.types import UserError

pytestmark = pytest.mark.slow

SECONDS = 1.0
"""Longest time for a damaged file of some kilobytes, with room for a busy machine."""

COLOR = np.random.default_rng(0).integers(0, 256, (40, 48, 3)).astype(np.uint8)
GRAY = np.ascontiguousarray(COLOR[..., 0])


def saved(pixels: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def tiff(pixels: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def roi(points: object) -> bytes:
    return ImagejRoi.frompoints(np.array(points, np.float32)).tobytes()


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


CORNERS = [(2, 2), (20, 3), (12, 25)]
FILES: dict[str, bytes] = {
    "png": saved(COLOR, "PNG"),
    "png palette": saved(np.asarray(Image.fromarray(COLOR).quantize(9)), "PNG"),
    "jpeg": saved(COLOR, "JPEG"),
    "bmp": saved(COLOR, "BMP"),
    "tiff": tiff(COLOR, photometric="rgb"),
    "tiff strips": tiff(COLOR, photometric="rgb", compression="lzw", rowsperstrip=4),
    "tiff tiles": tiff(COLOR, photometric="rgb", compression="zlib", tile=(16, 16)),
    "tiff big": tiff(GRAY, bigtiff=True, compression="packbits"),
    "tiff palette": tiff(
        GRAY, photometric="palette", colormap=np.zeros((3, 256), np.uint16), byteorder=">"
    ),
    "tiff ImageJ": tiff(np.stack([GRAY] * 3), imagej=True, metadata={"axes": "CYX"}),
    "tiff OME": tiff(np.stack([GRAY] * 2), ome=True, metadata={"axes": "ZYX"}),
    "roi zip": zipped({"a.roi": roi(CORNERS), "b.roi": roi(CORNERS[::-1])}),
    "roi": roi(CORNERS),
}
READERS: dict[str, Callable[[bytes, str], object]] = {
    "image": read_image,
    "label map": read_label_map,
    "outlines": lambda data, where: read_rois(data, where, GRAY.shape),
}


def mutations(data: bytes, count: int, generator: np.random.Generator) -> Iterator[bytes]:
    """The file with bytes changed, most of them in its header, cut short, or grown inside."""
    for _ in range(count):
        broken = bytearray(data)
        end = len(data) if generator.random() < 0.3 else min(len(data), 400)
        for at in generator.integers(2, end, generator.integers(1, 5)):
            broken[at] = generator.choice([0, 1, 127, 255, generator.integers(256)])
        kind = generator.integers(8)
        if kind == 0:
            broken = broken[: generator.integers(1, len(broken))]
        elif kind == 1:
            at = int(generator.integers(len(broken)))
            broken[at:at] = generator.bytes(int(generator.integers(1, 40)))
        yield bytes(broken)


@pytest.mark.filterwarnings("ignore")  # decoders may warn about damage as they please
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_gives_one_line_within_moments(name: str) -> None:
    """Of each kind 300 mutations (the first files of ten thousand that were tried)."""
    readers = ["outlines"] if name.startswith("roi") else ["image", "label map"]
    generator = np.random.default_rng(sum(name.encode()))
    for number, data in enumerate(mutations(FILES[name], 300, generator)):
        read, start = READERS[readers[number % len(readers)]], time.perf_counter()
        try:
            read(data, "x")
        except UserError as error:
            assert str(error).startswith("x") and "\n" not in str(error)
        assert time.perf_counter() - start < SECONDS, (name, number)


def with_tag(code: int, value: int) -> bytes:
    """The TIFF of strips with another value of a tag of one number."""
    data = bytearray(FILES["tiff strips"])
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tag = file.pages.first.tags[code]
        if tag.count == 1:
            struct.pack_into("<I" if tag.dtype == 4 else "<H", data, tag.valueoffset, value)
        else:
            struct.pack_into("<I", data, tag.offset + 4, value)  # how many values there are
    return bytes(data)


@pytest.mark.parametrize(
    ("code", "value", "message"),
    [
        (257, 13_000_000, "13000000 x 48 pixels"),
        (257, 400_000, "400000 x 48 pixels in 100000 parts, of which 10 are there"),
        (256, 8_000_000, "claims .* bytes of pixels in"),
        (278, 1, "parts, of which 10 are there"),
        (277, 60_000, "claims .* bytes of pixels in"),
        (273, 2**31, "claims 2147483648 values in a file of"),
        (279, 0, "has type . and 0 values"),
    ],
)
def test_a_header_is_judged_by_the_length_of_its_file(code: int, value: int, message: str) -> None:
    data, start = with_tag(code, value), time.perf_counter()
    with pytest.raises(UserError, match=message):
        read_image(data, "x")
    assert time.perf_counter() - start < 0.1


def ome(attributes: str) -> bytes:
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image'
        f' ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" {attributes}>'
        '<TiffData IFD="0" PlaneCount="1"/></Pixels></Image></OME>'
    )
    return tiff(GRAY, description=xml, metadata=None)


@pytest.mark.parametrize(
    "data",
    [
        ome('SizeX="48" SizeY="40" SizeC="2000000000" SizeZ="1" SizeT="1"'),
        ome('SizeX="48" SizeY="40" SizeC="99999" SizeZ="99999" SizeT="99999"'),
        ome('SizeX="48" SizeY="40" SizeC="1" SizeZ="9" SizeT="1"'),
        ome('SizeX="48000000000" SizeY="40" SizeC="1" SizeZ="1" SizeT="1"'),
        tiff(GRAY, description='{"shape": [99999999999, 40, 48]}', metadata=None),
        tiff(GRAY, description="ImageJ=1.53t\nimages=999999999\nslices=999999999\n", metadata=None),
        struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", 60_000) + bytes(600),
        struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<HI", 0, 8),  # a ring of directories
        struct.pack("<2sHIQ", b"II", 43, 8, 2**63) + bytes(60),
        FILES["png"][:16] + struct.pack(">II", 19_000, 20_000) + FILES["png"][24:],
        FILES["bmp"][:18] + struct.pack("<ii", 19_000, 20_000) + FILES["bmp"][26:],
    ],
)
def test_what_metadata_claim_is_judged_too(data: bytes) -> None:
    start = time.perf_counter()
    with pytest.raises(UserError, match=r"^x: [^\n]*$"):
        read_image(data, "x")
    assert time.perf_counter() - start < SECONDS / 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (zipped({f"{i}.roi": b"Iout" + bytes(12 << 20) for i in range(8)}), "unpacks to more than"),
        (roi(np.random.default_rng(0).uniform(0, 5000, (60_000, 2))), "no end of them"),
        (FILES["roi"][:16] + b"\xff\xff" + FILES["roi"][18:], "not a complete ImageJ ROI"),
    ],
)
def test_rois_that_claim_too_much(data: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_rois(data, "x", (5000, 5000))


@pytest.mark.parametrize(
    ("size", "segmentation", "message"),
    [
        ((20_000, 20_000), [], "labels of 20000 x 20000 pixels for a.png of 40 x 48"),
        ((40, 48), {"size": [20_000, 20_000], "counts": [400_000_000]}, "RLE of size"),
        ((40, 48), {"size": [40, 48], "counts": [2**62] * 4 + [1920]}, "RLE of 18446744073709553"),
        ((40, 48), [[v for k in range(9999) for v in (k % 7, 4000 * (k % 2))]], "9999 vertices"),
    ],
)
def test_coco_that_claims_too_much(
    size: tuple[int, int], segmentation: object, message: str
) -> None:
    image = {"id": 1, "file_name": "a.png", "height": size[0], "width": size[1]}
    annotation = {"id": 1, "image_id": 1, "segmentation": segmentation}
    data = json.dumps({"images": [image], "annotations": [annotation]}).encode()
    with pytest.raises(UserError, match=message):
        label_map(load_coco(data, "x")[0], "x", (40, 48))


def test_aperio_that_claims_too_much() -> None:
    region = "<Region><Vertices>{}</Vertices></Region>"
    zigzag = "".join(f'<Vertex X="{k % 7}" Y="{4000 * (k % 2)}"/>' for k in range(9999))
    for content, message in (
        (region.format(zigzag), "no pixels"),
        ("<Region>" * 3000 + "</Region>" * 3000, "region 1 holds another"),
    ):
        with pytest.raises(UserError, match=message):
            read_aperio(f"<Annotations>{content}</Annotations>".encode(), (40, 48), "x")
