"""Files of microscopes through bioio, where it is installed; here by its plugin for TIFF."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from support import pictures
from support.pictures import STACK

from nucleist.data.formats.channels import Choice
from nucleist.data.pictures.microscope import MicroscopeVolume, scenes_of
from nucleist.data.pictures.picture import Picture
from nucleist.data.pictures.volume import picture_of
from nucleist.types import UserError

Opening = Callable[..., list[Picture]]
INSTALLED = find_spec("bioio") is not None


@pytest.mark.skipif(not INSTALLED, reason="needs the extra bioio, and bioio-tifffile")
@pytest.mark.filterwarnings("ignore")
def test_planes_and_channels_are_read(tmp_path: Path) -> None:
    path = pictures.ome_tiff(tmp_path / "a.ome.tif")
    assert scenes_of(path) == 1
    volume = MicroscopeVolume(path, 0, Choice(t=1))
    with picture_of(volume, 1, (0, 1, 2), 2, "a") as picture:
        assert len(picture.channels) == 2 and picture.dtype == np.uint16
        found = picture.read(picture.whole)
        np.testing.assert_array_equal(found[..., 0], STACK[1, :, 1].max(0))


@pytest.mark.filterwarnings("ignore")
def test_a_file_that_no_plugin_reads_is_one_line(tmp_path: Path, open_pictures: Opening) -> None:
    (tmp_path / "a.vsi").write_bytes(b"II*\0" + bytes(100))
    message = "no installed plugin of bioio" if INSTALLED else r"\.vsi is read by bioio, which is"
    with pytest.raises(UserError, match=rf"^\S*a\.vsi: {message}[^\n]*OME-TIFF$"):
        open_pictures(tmp_path / "a.vsi")
