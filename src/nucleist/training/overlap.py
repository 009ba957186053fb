"""What earlier weights were trained on and what now counts as unseen."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from nucleist.data.formats.manifest import Entry, read_manifest
from nucleist.data.loading import pixel_hash
from nucleist.data.module import NucleiData
from nucleist.inference.load import checkpoint_of
from nucleist.models.weights.portable import read_about
from nucleist.models.weights.shipped import shipped_file
from nucleist.types import UserError, Window

EVERYWHERE = Window(0, 0, 0, 0)
"""Stands for whole images: an exported model says of no nucleus that it was not labelled."""

KEYWORDS = ("imagenet", "coco")
"""Values of `weights` that name no file."""


def weights_file(weights: str | None) -> str | None:
    """The file of `weights=`: of a run folder the checkpoint that the run recommends.

    Weights that come with the package are meant by their name if no run folder or file has it.

    Raises:
        UserError: If it is a folder without a checkpoint.
    """
    if weights is None or weights in KEYWORDS or Path(weights).expanduser().is_file():
        return weights
    if not Path(weights).expanduser().is_dir() and shipped_file(weights) is None:
        return weights  # refused when it is loaded
    try:
        return str(checkpoint_of(weights))
    except UserError as error:
        raise UserError(f"weights={error}") from error


def seen_before(weights: str | None, data: NucleiData) -> str:
    """One line if the weights are from a run that trained on what is now tested or validated.

    Images are compared by their pixels, whatever they are called; held-out nuclei by their ids in
    images of the same pixels.

    Args:
        weights: A file; only the checkpoints of a run folder, which has a manifest, and exported
            models say what they were trained on.
        data: What will be trained on and tested.

    Returns:
        The line; empty if there is no such image or nucleus, or nothing is known.
    """
    if weights is None or weights in KEYWORDS:
        return ""
    earlier = _earlier(Path(weights).expanduser().absolute())
    parts = [*_images(data, earlier), *_nuclei(data, earlier)] if earlier else []
    if not parts:
        return ""
    return (
        f"weights={weights}: were trained on {' and '.join(parts)} of this run, whose scores will "
        "be too good; take the split of that run or other weights"
    )


def _earlier(weights: Path) -> dict[str, Entry]:
    """What is known of the earlier training images, by the hash of their pixels."""
    try:
        if weights.suffix == ".safetensors":  # with all their nuclei
            hashes = read_about(weights).get("trained_on", [])
            return {pixels: Entry(EVERYWHERE) for pixels in hashes}
        entries = read_manifest(weights.parent.parent / "manifest.json").values()
    except UserError:
        return {}
    return {entry.pixels: entry for entry in entries if entry.pixels}


def _images(data: NucleiData, earlier: Mapping[str, Entry]) -> list[str]:
    """The test and the validation images among earlier training images, in words."""
    words, trained = {"test": "test"}, set(data.train_set.ids)
    if data.splits["val"] != data.splits["test"]:
        words["val"] = "validation"
    found = []
    for use, word in words.items():
        unseen = [image_id for image_id in data.ids(use) if image_id not in trained]
        ids = [image_id for image_id in unseen if pixel_hash(data.record(image_id)) in earlier]
        found += [_counted(ids, f"{word} image")] if ids else []
    return found


def _nuclei(data: NucleiData, earlier: Mapping[str, Entry]) -> list[str]:
    """The held-out nuclei among those of earlier trainings, in words."""
    count = 0
    for image_id in data.train_set.validated:
        entry = earlier.get(pixel_hash(data.record(image_id)))
        if entry is not None:
            seen = set(data.train_set.held_out[image_id]) - set(entry.held_out)
            count += len(seen if isinstance(entry.choice, Window) else seen & set(entry.choice))
    return [f"{count} held-out {'nucleus' if count == 1 else 'nuclei'}"] if count else []


def _counted(ids: Sequence[str], word: str) -> str:
    return f"1 {word} ({ids[0]})" if len(ids) == 1 else f"{len(ids)} {word}s ({ids[0]}, ...)"
