"""Open an image of any kind: which reader it needs, and which pictures it holds."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from nucleist.data.formats.channels import CLEAR, Choice, chosen_of
from nucleist.data.formats.damage import as_damage
from nucleist.data.formats.images import is_tiff, stored_planes
from nucleist.data.formats.tiff_series import ColorsError
from nucleist.data.pictures import microscope, slide
from nucleist.data.pictures.ome_zarr import ZarrVolume, is_zarr
from nucleist.data.pictures.picture import Picture
from nucleist.data.pictures.tiff import TiffVolume
from nucleist.data.pictures.volume import OpenedLater, Volume, array_picture, picture_of
from nucleist.types import Progress, UserError

SUFFIXES = slide.SUFFIXES | microscope.SUFFIXES
"""Of files that are images besides those that training reads; folders may be OME-Zarr."""

_LARGEST_NDPI = 2**32
"""Bytes: offsets in larger ones do not fit into their TIFF."""

Opening = Callable[[], Volume]


def open_pictures(
    path: str | Path, choice: Choice = CLEAR, progress: Progress | None = None
) -> list[Picture]:
    """The pictures of a file: one, or as many as were chosen of a stack or lie in the file.

    What is read as a whole (PNG, JPEG, BMP, planes of up to 128 MB) has the pixels that
    `nucleist.data.formats.images.read_image` gives. Larger planes are read window by window. Of
    several pictures each is opened when it is first looked at; close it after use.

    Args:
        path: The file, or the folder of an OME-Zarr.
        choice: Which channel, plane and time, where there are several.
        progress: Gets a line where a file is decoded into a temporary one.

    Returns:
        The pictures, in order; `suffix` tells them apart.

    Raises:
        UserError: If the file is missing or damaged, its kind is unknown or needs a library that
            is not installed, or it is not clear which plane or channel shows the nuclei.
    """
    path = Path(path).expanduser()
    if not is_zarr(path):
        head = _head(path)
        if path.suffix.lower() not in slide.ONLY | microscope.SUFFIXES and not is_tiff(head):
            return [_in_memory(path, choice)]
    openings = _openings(path, choice, progress or Progress())
    found: list[Picture] = []
    for suffix, opening in openings:
        found += _pictures(path, opening, suffix, choice, len(openings) > 1)
    return found


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(8)
    except OSError as error:
        if path.is_dir():
            raise UserError(f"{path}: a folder that is no OME-Zarr; give an image") from error
        raise UserError(f"{path}: cannot read ({error.strerror}); check the file") from error


def _in_memory(path: Path, choice: Choice) -> Picture:
    """The picture of a PNG, JPEG or BMP; whatever else it is is refused."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot read ({error.strerror}); check the file") from error
    planes = stored_planes(data, str(path), choice)
    return array_picture(planes, choice.channel, str(path), str(path), None)


def _openings(path: Path, choice: Choice, progress: Progress) -> Sequence[tuple[str, Opening]]:
    """What opens each image of a file, and the suffix of its name."""
    kind = path.suffix.lower()
    if is_zarr(path):
        return [("", partial(_opened, partial(ZarrVolume, path, choice), path))]
    large = kind == ".ndpi" and path.stat().st_size > _LARGEST_NDPI
    if kind in slide.ONLY or large:
        return [("", partial(slide.SlideVolume, path))]
    if kind in microscope.SUFFIXES:
        with as_damage(str(path)):
            count = microscope.scenes_of(path)
        return [
            (
                f"_s{scene + 1}" if count > 1 else "",
                partial(_opened, partial(microscope.MicroscopeVolume, path, scene, choice), path),
            )
            for scene in range(count)
        ]
    return [("", partial(_tiff, path, choice, progress))]


def _opened(opening: Opening, path: Path) -> Volume:
    with as_damage(str(path)):
        return opening()


def _tiff(path: Path, choice: Choice, progress: Progress) -> Volume:
    """A TIFF; by OpenSlide if its colours are those of a slide that only OpenSlide understands."""
    try:
        with as_damage(str(path)):
            return TiffVolume(path, choice, progress)
    except ColorsError:
        if path.suffix.lower() in slide.SUFFIXES:
            return slide.SlideVolume(path)
        raise


def _pictures(
    path: Path, opening: Opening, suffix: str, choice: Choice, later: bool
) -> list[Picture]:
    """The chosen pictures of one image of a file."""
    volume = opening()
    try:
        counts, where, shape = volume.axes.counts, volume.where, volume.shape
        times = [time for (time,) in chosen_of(counts[0], choice.t, where, shape, "t")]
        stacks = chosen_of(counts[1], choice.z, where, shape)
    except BaseException:
        volume.close()
        raise
    if len(times) * len(stacks) == 1 and not later:
        return [picture_of(volume, times[0], stacks[0], choice.channel, str(path))]
    volume.close()

    def open_one(time: int, planes: tuple[int, ...], name: str) -> Picture:
        return picture_of(opening(), time, planes, choice.channel, name)

    found: list[Picture] = []
    for time in times:
        for planes in stacks:
            words = [f"t{time + 1}"] if choice.t == "each" else []
            words += [f"z{planes[0] + 1}"] if choice.z == "each" else []
            end = suffix + "".join(f"_{word}" for word in words)
            name = f"{path}{end.replace('_', ' ')}"
            found.append(OpenedLater(name, end, partial(open_one, time, planes, name)))
    return found
