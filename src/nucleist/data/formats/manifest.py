"""The manifest of a run: which labels of each training image were kept, to be repeated exactly.

JSON, one image a line, sorted by image id: `{"ids": [3, 7]}` for nuclei that are labelled, or
`{"window": [y0, x0, y1, x1]}` for a rectangle in which all are. Further keys of an image:
`"held_out": [9]`, nuclei among them that training did not see; `"complete"`, where these are all
the nuclei of the image, `true`, `false` or a list of rectangles; `"pixels"`, a hash of the image.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nucleist.files import read_json, write_text
from nucleist.types import Complete, UserError, Window

FORMAT = "nucleist-annotation-1"


Choice = list[int] | Window
"""What is known of one image: the ids of the labelled nuclei, or a fully labelled window."""


@dataclass(frozen=True)
class Entry:
    """What a manifest says of one image.

    Attributes:
        choice: The labelled nuclei, held-out ones included, or the fully labelled window.
        held_out: Ids of nuclei that training did not see, ascending.
        complete: Where the labelled nuclei are all that there are.
        pixels: Hash of the image, see `nucleist.files.checksum`; empty if it is not known.
    """

    choice: Choice
    held_out: tuple[int, ...] = ()
    complete: Complete = False
    pixels: str = ""


def write_manifest(
    path: str | Path,
    entries: Mapping[str, Entry],
    settings: Mapping[str, object] | None = None,
) -> None:
    """Write which labels were kept, one image a line, so that a run can be repeated.

    Args:
        path: JSON file; it appears complete or not at all.
        entries: By image id.
        settings: What led to the choice (`Annotation.settings()`), for people who look into the
            file; `read_manifest` ignores it.

    Raises:
        UserError: If the file cannot be written.
    """
    lines = [
        f"  {json.dumps(image_id)}: {json.dumps(_encoded(entry))}"
        for image_id, entry in sorted(entries.items())
    ]
    text = (
        f'{{"format": "{FORMAT}",\n "settings": {json.dumps(dict(settings or {}))},\n'
        ' "images": {\n' + ",\n".join(lines) + "\n }}\n"
    )
    write_text(path, text)


def read_manifest(path: str | Path) -> dict[str, Entry]:
    """Read a manifest of kept labels.

    Returns:
        For each image id what `write_manifest` took.

    Raises:
        UserError: If the file is missing or not a manifest.
    """
    content = read_json(path, "give a manifest.json that nucleist wrote")
    images = content.get("images")
    if not isinstance(images, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path}: not a manifest of kept labels; give one that nucleist wrote")
    return {image_id: _decoded(entry, image_id, path) for image_id, entry in images.items()}


def _encoded(entry: Entry) -> dict[str, object]:
    choice, complete = entry.choice, entry.complete
    found: dict[str, object] = (
        {"window": [int(value) for value in choice]}
        if isinstance(choice, Window)
        else {"ids": sorted(int(value) for value in choice)}
    )
    if entry.held_out:
        found["held_out"] = sorted(int(value) for value in entry.held_out)
    found["complete"] = complete if isinstance(complete, bool) else [list(w) for w in complete]
    return found | ({"pixels": entry.pixels} if entry.pixels else {})


def _decoded(entry: object, image_id: str, path: str | Path) -> Entry:
    choice = _choice(entry) if isinstance(entry, dict) else None
    if choice is None:
        raise UserError(
            f"{path}: the entry of image {image_id!r} is neither ids of nuclei nor a window "
            "[y0, x0, y1, x1]; give a manifest that nucleist wrote"
        )
    assert isinstance(entry, dict)
    held_out, complete = entry.get("held_out", []), entry.get("complete", False)
    area = complete if isinstance(complete, bool) else _rectangles(complete)
    if not _are_ids(held_out) or not _are_among(held_out, choice) or area is None:
        raise UserError(
            f"{path}: held_out or complete of image {image_id!r} is not what nucleist writes; give "
            "a manifest that nucleist wrote"
        )
    return Entry(choice, tuple(sorted(held_out)), area, str(entry.get("pixels", "")))


def _choice(entry: Mapping[str, object]) -> Choice | None:
    ids = entry.get("ids")
    if ids is None:
        return _window(entry.get("window"))
    return sorted(ids) if _are_ids(ids) and "window" not in entry else None  # type: ignore[call-overload,no-any-return]


def _are_ids(values: object) -> bool:
    return isinstance(values, list) and all(type(v) is int and v > 0 for v in values)


def _are_among(held_out: list[int], choice: Choice) -> bool:
    return isinstance(choice, Window) or set(held_out) <= set(choice)


def _window(values: object) -> Window | None:
    if not isinstance(values, list) or len(values) != 4:
        return None
    if not all(type(v) is int and v >= 0 for v in values):
        return None
    window = Window(*values)
    return window if window.y0 < window.y1 and window.x0 < window.x1 else None


def _rectangles(values: object) -> tuple[Window, ...] | None:
    windows = [_window(one) for one in values] if isinstance(values, list) else [None]
    found = tuple(window for window in windows if window is not None)
    return found if len(found) == len(windows) else None
