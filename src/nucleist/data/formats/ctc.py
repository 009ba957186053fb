"""Tracks as the Cell Tracking Challenge has them: `res_track.txt` and a TIFF for each frame.

Source: http://celltrackingchallenge.net, *Naming and file content conventions*. A line of the text
is `L B E P`: label, first frame, last frame, label of the mother or 0; frames are counted from 0.
"""

from pathlib import Path

import numpy as np
import tifffile

from nucleist.files import replacing, write_text
from nucleist.ops.tracking import Tracks, without_gaps
from nucleist.types import UserError

TABLE = "res_track.txt"
LARGEST_LABEL = 2**16 - 1


def write_tracks(folder: str | Path, tracks: Tracks) -> Path:
    """Write `res_track.txt` and `mask000.tif`, `mask001.tif`, ... into a folder.

    A nucleus that is missing in a frame has a new label afterwards, and the earlier one as its
    mother, as the challenge wants it.

    Args:
        folder: It is made if need be; files of the same names are replaced.
        tracks: From `nucleist.ops.tracking.follow`.

    Returns:
        The path of `res_track.txt`, which is written last.

    Raises:
        UserError: If a file cannot be written, or there are more labels than 16 bits can hold.
    """
    whole = without_gaps(tracks)
    if len(whole.table) > LARGEST_LABEL:
        raise UserError(
            f"{folder}: {len(whole.table)} tracks, but the format holds {LARGEST_LABEL}; write "
            "fewer frames, or nuclei with a higher score"
        )
    digits = max(3, len(str(len(whole.frames) - 1)))
    for t, frame in enumerate(whole.frames):
        with replacing(Path(folder) / f"mask{t:0{digits}d}.tif") as temporary:
            pixels = frame.astype(np.uint16)
            tifffile.imwrite(temporary, pixels, compression="zlib", photometric="minisblack")
    target = Path(folder) / TABLE
    write_text(target, "".join("{} {} {} {}\n".format(*row) for row in whole.table.tolist()))
    return target


def read_tracks(folder: str | Path) -> Tracks:
    """Read what `write_tracks` wrote, or another tool in this format.

    Raises:
        UserError: If a file is missing or damaged.
    """
    path = Path(folder) / TABLE
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        rows = [[int(word) for word in line.split()] for line in lines if line.strip()]
        table = np.array(rows, np.int64).reshape(-1, 4)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise UserError(f"{path}: not a table of tracks ({error}); four numbers a line") from error
    files = sorted(Path(folder).glob("mask*.tif"))
    if not files:
        raise UserError(f"{folder}: no mask000.tif and so on; give the folder of the tracks")
    try:
        frames = [tifffile.imread(file).astype(np.int32) for file in files]
    except (OSError, ValueError, tifffile.TiffFileError) as error:
        raise UserError(f"{folder}: a frame is damaged ({error}); write it again") from error
    return Tracks(frames, table)
