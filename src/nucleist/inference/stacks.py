"""What the planes of a stack, or the frames of a film, are together: nuclei in 3D and over time."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile

from nucleist.data.formats.ctc import write_tracks
from nucleist.files import replacing
from nucleist.ops.linking import link_slices
from nucleist.ops.tracking import follow
from nucleist.types import UserError, one_of

STACKS = ("volume", "film")
"""`volume`: planes at different depths; `film`: planes, or volumes, at different times."""


def write_stack(
    planes: Sequence[np.ndarray],
    stack: str,
    output: str | Path,
    spacing: Sequence[float] | None = None,
) -> int:
    """Put the nuclei of the planes of one image together, and write them.

    A volume becomes `NAME_volume.tif`, labels of 16 bits, 32 where needed; a film the folder
    `NAME_tracks`, in the format of the Cell Tracking Challenge.

    Args:
        planes: `(H, W)` integer label maps of one shape, in the order of depth or time; of a film
            of volumes `(Z, H, W)`, each from `nucleist.link_slices`.
        stack: One of `STACKS`.
        output: Where the results go, `NAME` without an ending.
        spacing: Size of a pixel along each axis, for a film.

    Returns:
        The number of nuclei in 3D, or of tracks.

    Raises:
        UserError: If `stack` is another, there is no plane, their sizes differ, or a file cannot
            be written.
    """
    one_of("stack", stack, STACKS)
    if not planes or len({plane.shape for plane in planes}) > 1:
        sizes = ", ".join(" x ".join(map(str, s)) for s in sorted({p.shape for p in planes}))
        raise UserError(f"{output}: planes of {sizes or 'no'} pixels; give planes of one size")
    path = Path(output)
    if stack == "film":
        tracks = follow(planes, spacing=spacing)
        write_tracks(path.with_name(f"{path.name}_tracks"), tracks)
        return len(tracks.table)
    volume = link_slices(planes)
    count = int(volume.max(initial=0))
    pixels = volume.astype(np.uint16 if count < 2**16 else np.uint32)
    with replacing(path.with_name(f"{path.name}_volume.tif")) as temporary:
        tifffile.imwrite(temporary, pixels, compression="zlib", photometric="minisblack")
    return count
