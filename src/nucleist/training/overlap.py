"""Images that earlier weights were trained on and that now count as unseen."""

from pathlib import Path

from nucleist.data.formats.manifest import read_manifest
from nucleist.data.loading import pixel_hash
from nucleist.data.module import NucleiData
from nucleist.inference.load import checkpoint_of
from nucleist.types import UserError

KEYWORDS = ("imagenet", "coco")
"""Values of `weights` that name no file."""


def weights_file(weights: str | None) -> str | None:
    """The file of `weights=`: of a run folder the checkpoint that the run recommends.

    Raises:
        UserError: If it is a folder without a checkpoint.
    """
    if weights is None or weights in KEYWORDS or not Path(weights).expanduser().is_dir():
        return weights
    return str(checkpoint_of(weights))


def seen_before(weights: str | None, data: NucleiData) -> str:
    """One line if the weights are from a run that trained on what is now tested or validated.

    Images are compared by their pixels, whatever they are called.

    Args:
        weights: A file; only the checkpoints of a run folder, which has a manifest, say what they
            were trained on.
        data: What will be trained on and tested.

    Returns:
        The line; empty if there is no such image, or nothing is known.
    """
    if weights is None or weights in KEYWORDS:
        return ""
    manifest = Path(weights).expanduser().absolute().parent.parent / "manifest.json"
    try:
        earlier = {entry.pixels for entry in read_manifest(manifest).values()} - {""}
    except UserError:
        return ""
    if not earlier:
        return ""
    found = {}
    for use in ("test", "val"):
        ids = [i for i in data.ids(use) if i not in data.train_set.ids]
        found[use] = [i for i in ids if pixel_hash(data.record(i)) in earlier]
    words = {"test": "test", "val": "validation"}
    parts = [f"{len(ids)} {words[use]} images ({ids[0]}, ...)" for use, ids in found.items() if ids]
    if not parts:
        return ""
    return (
        f"weights={weights}: trained on what are now {' and '.join(parts)}; their scores will be "
        "too good, take the split of that run or other weights"
    )
