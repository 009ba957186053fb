"""What a TIFF says beside its pixels: colours, extra samples, tables, several images, planes."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image
from support.layouts import rgb

from nucleist.data.formats.channels import Choice
from nucleist.data.formats.images import read_image
from nucleist.data.formats.label_maps import read_label_map
from nucleist.types import UserError

GRAY = (np.arange(35, dtype=np.uint8).reshape(5, 7) * 7 + 3).astype(np.uint8)
RAMP = np.arange(256)
FIRE = np.stack([np.interp(RAMP, x, y) for x, y in (
    ((0, 32, 96, 180, 255), (0, 0, 140, 255, 255)),
    ((0, 64, 128, 230, 255), (0, 0, 60, 255, 255)),
    ((0, 48, 96, 128, 210, 255), (0, 220, 200, 0, 60, 255)),
)]).astype(np.uint8)  # fmt: skip
TABLES = {
    "blue": np.stack([0 * RAMP, 0 * RAMP, RAMP]),
    "green": np.stack([0 * RAMP, RAMP, 0 * RAMP]),
    "cyan": np.stack([0 * RAMP, RAMP, RAMP]),
    "fire": FIRE,
    "stretched": np.stack([np.clip(RAMP * 2 - 60, 0, 255)] * 3),
}
SPECTRUM = np.array(Image.fromarray(
    np.stack([RAMP, 0 * RAMP + 255, 0 * RAMP + 255], 1).astype(np.uint8)[None], "HSV"
).convert("RGB"))[0].T  # fmt: skip


def tiff(*images: np.ndarray, ome: bool = False, **options: object) -> bytes:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, ome=ome) as writer:
        for image in images:
            writer.write(image, **options)
    return buffer.getvalue()


def imagej(pixels: np.ndarray, axes: str) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, imagej=True, metadata={"axes": axes})
    return buffer.getvalue()


def palette(table: np.ndarray, pixels: np.ndarray = GRAY, written_by: str = "") -> bytes:
    options = {"description": written_by} if written_by else {}
    table = table.astype(np.uint16) * 257
    return tiff(pixels, photometric="palette", colormap=table, metadata=None, **options)


def grays(pixels: np.ndarray) -> np.ndarray:
    return np.repeat(pixels[..., None], 3, 2)


def png_of(table: np.ndarray) -> bytes:
    image, buffer = Image.fromarray(GRAY, "P"), io.BytesIO()
    image.putpalette(table.T.astype(np.uint8).tobytes())
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("name", TABLES)
def test_a_display_table_does_not_change_the_data(name: str) -> None:
    np.testing.assert_array_equal(read_image(palette(TABLES[name]), "x"), grays(GRAY))
    np.testing.assert_array_equal(read_image(png_of(TABLES[name]), "x"), grays(GRAY))


def test_a_table_of_imagej_need_not_rise() -> None:
    read = read_image(palette(SPECTRUM, written_by="ImageJ=1.53t\nmin=0.0\nmax=255.0\n"), "x")
    np.testing.assert_array_equal(read, grays(GRAY))
    assert (np.ptp(read_image(palette(SPECTRUM), "x"), axis=2) > 0).any()


def test_the_palette_of_a_picture_is_looked_up() -> None:
    picture = Image.fromarray(rgb(3)[:40, :40]).quantize(200)
    buffer = io.BytesIO()
    picture.save(buffer, "TIFF")
    np.testing.assert_array_equal(
        read_image(buffer.getvalue(), "x"), np.asarray(picture.convert("RGB"))
    )


def test_a_palette_of_eight_bits_a_colour_is_looked_up_as_such() -> None:
    table = np.random.default_rng(0).integers(0, 256, (3, 256)).astype(np.uint16)
    data = tiff(GRAY, photometric="palette", colormap=table, metadata=None)
    np.testing.assert_array_equal(read_image(data, "x"), np.moveaxis(table[:, GRAY], 0, -1))


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "f4"])
def test_white_is_zero_is_turned_round_in_any_type(dtype: str) -> None:
    pixels = (GRAY // 2).astype(dtype)
    image = read_image(tiff(pixels, photometric="miniswhite"), "x").astype(np.float64)[..., 0]
    np.testing.assert_array_equal(image - image.max(), pixels.min() - pixels.astype(np.float64))


def test_white_is_zero_of_twelve_bits_ends_at_zero() -> None:
    pixels = np.array([[0, 4095], [4094, 1]], np.uint16)
    data = tiff(pixels, photometric="miniswhite", bitspersample=12)
    np.testing.assert_array_equal(read_image(data, "x")[..., 0], 4095 - pixels)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB"])
def test_other_colours_are_refused(mode: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), (200, 80, 30)).convert(mode).save(buffer, "TIFF")
    with pytest.raises(UserError, match=r"x: colours of the kind .*; save it as RGB or gray"):
        read_image(buffer.getvalue(), "x")


def test_ycbcr_inside_jpeg_is_rgb() -> None:
    flat = np.full((16, 16, 3), (200, 80, 30), np.uint8)
    data = tiff(flat, photometric="rgb", compression="jpeg")
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        assert file.pages.first.photometric == tifffile.PHOTOMETRIC.YCBCR
    assert np.abs(read_image(data, "x").astype(int) - flat).max() < 6


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("count", [2, 4, 5])
def test_channels_stored_as_samples_are_listed(planar: str, count: int) -> None:
    stack = np.stack([GRAY // (20 - 4 * k) for k in range(count)], 2 if planar == "contig" else 0)
    extra = ["unspecified"] * (count - 1)
    data = tiff(stack, photometric="minisblack", planarconfig=planar, extrasamples=extra)
    with pytest.raises(UserError, match=r"x: several channels .*: 1 has .*, 2 has .*channel=N"):
        read_image(data, "x")
    with pytest.raises(UserError, match="x: several channels"):
        read_label_map(data, "x")
    for channel in range(count):
        read = read_image(data, "x", Choice(channel=channel + 1))
        np.testing.assert_array_equal(read, grays(GRAY // (20 - 4 * channel)))


def test_extra_samples_are_dropped_if_alpha_or_constant() -> None:
    two = np.stack([GRAY, 255 - GRAY], 2)
    options = {"photometric": "minisblack", "planarconfig": "contig"}
    for data in (
        tiff(two, extrasamples=["unassalpha"], **options),
        tiff(np.stack([GRAY, 0 * GRAY + 9], 2), extrasamples=["unspecified"], **options),
    ):
        np.testing.assert_array_equal(read_image(data, "x"), grays(GRAY))
    colors = rgb(1)[:5, :7]
    four = np.dstack([colors, GRAY])
    data = tiff(four, photometric="rgb", extrasamples=["unspecified"])
    with pytest.raises(UserError, match="several channels"):
        read_image(data, "x")
    np.testing.assert_array_equal(read_image(data, "x", Choice(channel="rgb")), colors)
    np.testing.assert_array_equal(read_image(data, "x", Choice(channel=4)), grays(GRAY))


def test_several_images_are_told() -> None:
    for data in (
        tiff(GRAY, GRAY.T.copy(), metadata=None),
        tiff(GRAY, GRAY // 2, ome=True, metadata={"axes": "YX"}),
    ):
        with pytest.raises(UserError, match=r"x: 2 images that are no stack \(5 x 7, .*; save"):
            read_image(data, "x")
    with pytest.raises(UserError, match=r"x: several planes \(axes IYX, 2 x 5 x 7\)"):
        read_image(tiff(GRAY, GRAY // 2, metadata=None), "x")


@pytest.mark.parametrize("first", [True, False])
def test_a_thumbnail_is_passed_over(first: bool) -> None:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for small in (True, False) if first else (False, True):
            pixels = np.ascontiguousarray(GRAY[::2, ::2]) if small else GRAY
            writer.write(pixels, subfiletype=int(small), metadata=None)
    np.testing.assert_array_equal(read_image(buffer.getvalue(), "x"), grays(GRAY))


def of_several_files(channels: int, file_name: str = "c{}.ome.tif") -> bytes:
    """OME-TIFF of which each channel is in a file of its own; this one has the first."""
    planes = "".join(
        f'<TiffData FirstC="{c}" IFD="0" PlaneCount="1"><UUID'
        f"{f' FileName={chr(34)}{file_name.format(c)}{chr(34)}' if file_name else ''}>urn:uuid:"
        f"{c + 1}1111111-1111-1111-1111-111111111111</UUID></TiffData>"
        for c in range(channels)
    )
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        'UUID="urn:uuid:11111111-1111-1111-1111-111111111111"><Image ID="Image:0"><Pixels '
        'ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="7" SizeY="5" '
        f'SizeC="{channels}" SizeZ="1" SizeT="1">{planes}</Pixels></Image></OME>'
    )
    return tiff(GRAY, description=xml, metadata=None)


@pytest.mark.parametrize("channels", [2, 3])
def test_a_plane_of_an_image_in_several_files_is_read(channels: int) -> None:
    np.testing.assert_array_equal(read_image(of_several_files(channels), "x"), grays(GRAY))


@pytest.mark.parametrize(
    "written_by", ["ImageJ=1.53t\nimages=5\nslices=5\n", '{"shape": [5, 5, 7]}']
)
def test_planes_that_are_promised_and_missing_are_told(written_by: str) -> None:
    with pytest.raises(UserError, match="x: damaged image"):
        read_image(tiff(GRAY, description=written_by, metadata=None), "x")


def test_the_plane_of_a_stack_is_chosen() -> None:
    stack = np.stack([GRAY // 2, GRAY, 255 - GRAY])
    data = imagej(stack, "ZYX")
    with pytest.raises(UserError, match=r"axes ZYX, 3 x 5 x 7\): a stack of 3; write z=project"):
        read_image(data, "x")
    np.testing.assert_array_equal(read_image(data, "x", Choice(z=2)), grays(GRAY))
    np.testing.assert_array_equal(read_image(data, "x", Choice(z="project")), grays(stack.max(0)))
    with pytest.raises(UserError, match="x: z=4, but it has 3 planes"):
        read_image(data, "x", Choice(z=4))
    both = imagej(np.stack([stack, stack // 3], 1), "ZCYX")
    read = read_image(both, "x", Choice(channel=2, z=3))
    np.testing.assert_array_equal(read, grays(stack[2] // 3))


def test_channels_are_listed_with_their_names() -> None:
    names = {"axes": "CYX", "Channel": {"Name": ["DAPI", "GFP"]}}
    data = tiff(np.stack([GRAY, GRAY // 9]), ome=True, metadata=names)
    with pytest.raises(UserError, match=r"axes CYX, 2 x 5 x 7\): 1 DAPI has .* to .*, 2 GFP has"):
        read_image(data, "x")


def test_a_channel_beside_empty_ones_needs_no_choice() -> None:
    data = imagej(np.stack([0 * GRAY, GRAY, 0 * GRAY + 100]), "CYX")
    np.testing.assert_array_equal(read_image(data, "x"), grays(GRAY))


def test_of_times_and_planes_both_are_chosen() -> None:
    stack = np.arange(6, dtype=np.uint8).reshape(2, 3, 1, 1) + GRAY // 2
    data = imagej(stack, "TZYX")
    with pytest.raises(UserError, match=r"x: several times \(axes TZYX, 2 x 3 x 5 x 7\): 2 of"):
        read_image(data, "x", Choice(z=1))
    with pytest.raises(UserError, match=r"x: several planes \(axes TZYX, 2 x 3 x 5 x 7\): a stack"):
        read_image(data, "x", Choice(t=1))
    np.testing.assert_array_equal(read_image(data, "x", Choice(z=3, t=2)), grays(stack[1, 2]))
    projected = read_image(data, "x", Choice(z="project", t=1))
    np.testing.assert_array_equal(projected, grays(stack[0].max(0)))


def test_times_without_planes_are_a_stack() -> None:
    stack = np.stack([GRAY, GRAY // 2])
    data = imagej(stack, "TYX")
    for choice in (Choice(z=2), Choice(t=2), Choice(z=1, t=2)):
        np.testing.assert_array_equal(read_image(data, "x", choice), grays(GRAY // 2))


def test_three_axes_of_planes_are_refused() -> None:
    data = tiff(np.zeros((2, 3, 2, 5, 7), np.uint8) + GRAY, photometric="minisblack")
    with pytest.raises(UserError, match=r"x: several planes \(axes Q+YX, .*\); save"):
        read_image(data, "x", Choice(z=1))
