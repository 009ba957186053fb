"""What the planes of a stack, or the frames of a film, are together: nuclei in 3D and over time."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tifffile

from nucleist.data.formats.channels import Choice
from nucleist.data.formats.ctc import write_tracks
from nucleist.data.formats.label_maps import load_label_map
from nucleist.files import replacing
from nucleist.inference.opened import Item
from nucleist.inference.save import paths_of
from nucleist.ops.linking import link_slices
from nucleist.ops.tracking import follow
from nucleist.types import Progress, UserError, one_of

STACKS = ("volume", "film")
"""`volume`: planes at different depths; `film`: planes, or volumes, at different times."""

PLANE = re.compile(r"(?:_t(?P<t>\d+))?(?:_z(?P<z>\d+))?$")
"""End of the name of a plane's results: its time and its depth, from 1."""


def check_stack(stack: str | None, choice: Choice, save: Sequence[str], whole: bool) -> None:
    """Refuse to put planes together that are not there.

    Args:
        stack: One of `STACKS`; None for nothing to put together.
        choice: Which plane and time.
        save: What is saved of each plane.
        whole: Whether this process has all planes.

    Raises:
        UserError: If `stack` is another, or the planes, or their labels, are not there.
    """
    one_of("stack", stack, (None, *STACKS))
    if stack is None:
        return
    name, value = ("z", choice.z) if stack == "volume" else ("t", choice.t)
    if value != "each":
        raise UserError(f"stack={stack} puts planes together; write {name}=each")
    if "labels" not in save:
        raise UserError(f"stack={stack} puts label images together; add labels to save=")
    if not whole:
        raise UserError(
            f"stack={stack}: the planes of a file are shared by several processes; use one, "
            "without share="
        )


def join(
    planes: Mapping[Item, Path], failed: Mapping[Item, str], stack: str, progress: Progress
) -> None:
    """Put the planes of each file together, see `write_stack`.

    A volume is made of the planes of each time, a film of the planes, or volumes, of all times.

    Args:
        planes: What was outlined, and where its results are, without the ending.
        failed: What was not; nothing is made of such a file.
        stack: One of `STACKS`.
        progress: Gets a line for each.

    Raises:
        UserError: If label images of one file differ in size, or a file cannot be written.
    """
    broken = {item.path for item in failed}
    for path in sorted(broken):
        progress.warn(f"{path}: a plane could not be outlined; no {stack} is made of it")
    films: dict[Path, dict[int, dict[int, Path]]] = {}
    for item, output in planes.items():
        found = PLANE.search(item.suffix)
        if item.path in broken or found is None:
            continue
        t, z = (int(found[axis] or 0) for axis in "tz")
        name = output.with_name(item.path.stem + item.suffix[: found.start()])
        films.setdefault(name, {}).setdefault(t, {})[z] = paths_of(output, ["labels"])["labels"]
    for output, times in films.items():
        frames = {
            t: [load_label_map(labels[z]) for z in sorted(labels)] for t, labels in times.items()
        }
        if stack == "film":
            each = [frames[t] for t in sorted(frames)]
            flat = [one[0] if len(one) == 1 else link_slices(one) for one in each]
            progress.note(f"{output}_tracks: {write_stack(flat, stack, output)} tracks")
            continue
        for t, one in sorted(frames.items()):
            place = output.with_name(f"{output.name}_t{t}") if t else output
            progress.note(f"{place}_volume.tif: {write_stack(one, stack, place)} nuclei in 3D")


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
