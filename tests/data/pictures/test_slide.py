"""Whole slides through OpenSlide, which reads tiled TIFFs too."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from nucleist.data.pictures.extras import needed
from nucleist.data.pictures.picture import Picture
from nucleist.data.pictures.slide import SlideVolume
from nucleist.data.pictures.volume import picture_of
from nucleist.types import UserError, Window

PIXELS = np.random.default_rng(0).integers(0, 256, (300, 400, 3)).astype(np.uint8)
Opening = Callable[..., list[Picture]]


def slide(path: Path) -> Path:
    tifffile.imwrite(path, PIXELS, tile=(64, 64), photometric="rgb")
    return path


def test_windows_of_a_slide_are_read(tmp_path: Path) -> None:
    path = slide(tmp_path / "a.tif")
    with picture_of(SlideVolume(path), 0, (0,), None, "a") as picture:
        assert picture.channels == ("red", "green", "blue") and picture.dtype == np.uint8
        window = Window(30, 40, 130, 190)
        np.testing.assert_array_equal(picture.read(window), PIXELS[window.slices])


def test_what_was_not_scanned_has_the_colour_of_the_glass(tmp_path: Path) -> None:
    volume = SlideVolume(slide(tmp_path / "a.tif"))
    beyond = volume.read(0, 0, Window(290, 390, 310, 410))
    np.testing.assert_array_equal(beyond[:10, :10], PIXELS[290:, 390:])
    assert (beyond[10:] == 255).all() and (beyond[:, 10:] == 255).all()
    volume.close()


def test_colours_that_tifffile_does_not_turn_are_left_to_openslide(
    tmp_path: Path, open_pictures: Opening
) -> None:
    flat = np.full((128, 128, 3), (149, 94, 162), np.uint8)  # of (200, 126, 89) by BT.601
    for name in ("a.tif", "a.svs"):
        tifffile.imwrite(tmp_path / name, flat, tile=(64, 64), photometric="ycbcr", metadata=None)
    with pytest.raises(UserError, match=r"a\.tif: colours of the kind YCBCR; save it as RGB"):
        open_pictures(tmp_path / "a.tif")
    (picture,) = open_pictures(tmp_path / "a.svs")
    colors = picture.read(picture.whole).reshape(-1, 3)
    assert (colors == colors[0]).all() and tuple(colors[0]) != (149, 94, 162)


def test_a_damaged_slide_is_one_line(tmp_path: Path, open_pictures: Opening) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").rename(tmp_path / "a.mrxs")  # its preview, without the folder beside it
    with pytest.raises(UserError, match=r"^\S*a\.mrxs: OpenSlide cannot open it [^\n]*again$"):
        open_pictures(tmp_path / "a.mrxs")


def test_a_missing_library_is_named_with_its_extra() -> None:
    message = r"a\.mrxs: \.mrxs is read by OpenSlide, which is not installed; pip install "
    with pytest.raises(UserError, match=message + r"'nucleist\[wsi\]', or save the image as OME"):
        needed("no_such_module", "wsi", "OpenSlide", Path("a.mrxs"))
