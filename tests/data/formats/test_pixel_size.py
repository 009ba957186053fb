"""Width of a pixel as TIFFs say it; resolutions of prints and scanners do not count."""

import io

import numpy as np
import pytest
import tifffile

from nucleist.data.formats.pixel_size import common, in_micrometres, of_bytes

GRAY = np.zeros((8, 9), np.uint8)


def tiff(**options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, GRAY, **options)
    return buffer.getvalue()


def ome(**metadata: object) -> bytes:
    return tiff(ome=True, metadata={"axes": "YX", **metadata})


def imagej(unit: str | None, per_unit: float) -> bytes:
    metadata = {"axes": "YX"} | ({"unit": unit} if unit else {})
    return tiff(imagej=True, metadata=metadata, resolution=(per_unit, per_unit))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (ome(PhysicalSizeX=0.325), 0.325),
        (ome(PhysicalSizeX=325, PhysicalSizeXUnit="nm"), 0.325),
        (ome(PhysicalSizeX=0.5, PhysicalSizeXUnit="µm"), 0.5),
        (ome(PhysicalSizeX=3, PhysicalSizeXUnit="pixel"), None),
        (ome(), None),
        (imagej("um", 4), 0.25),
        (imagej("micron", 2), 0.5),
        (imagej("\\u00B5m", 2), 0.5),
        (imagej("nm", 0.01), 0.1),
        (imagej("inch", 72), None),
        (imagej(None, 4), None),
        (tiff(resolution=(72, 72), resolutionunit="INCH"), None),
        (tiff(resolution=(300, 300), resolutionunit="INCH"), None),
        (tiff(resolution=(118, 118), resolutionunit="CENTIMETER"), None),
        (tiff(resolution=(4800, 4800), resolutionunit="INCH"), None),
        (tiff(resolution=(44_000, 44_000), resolutionunit="CENTIMETER"), 10_000 / 44_000),
        (tiff(resolution=(4, 4), resolutionunit="NONE"), None),
        (tiff(), None),
        (b"no TIFF", None),
        (tiff(resolution=(44_000, 44_000), resolutionunit="CENTIMETER")[:90], None),
    ],
)
def test_the_width_of_a_pixel(data: bytes, expected: float | None) -> None:
    assert of_bytes(data) == (expected if expected is None else pytest.approx(expected, rel=1e-5))


def test_lengths_that_are_none() -> None:
    assert in_micrometres("0.5", "MM") == 500
    for value, unit in (("x", "um"), ("1", "furlong"), ("0", "um"), ("nan", "um"), ("-1", "um")):
        assert in_micrometres(value, unit) is None


def test_a_size_that_images_share() -> None:
    assert common([0.25, 0.252]) == 0.25
    assert common([0.25, 0.26]) is common([0.25, None]) is common([]) is None
