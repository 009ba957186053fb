"""The manifest of a run: which labels of each training image were kept, to be repeated exactly.

JSON, one image a line, sorted by image id: `{"ids": [3, 7]}` for nuclei that are labelled, or
`{"window": [y0, x0, y1, x1]}` for a rectangle in which all are.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from nucleist.files import read_json, write_text
from nucleist.types import UserError, Window

FORMAT = "nucleist-annotation-1"


Choice = list[int] | Window
"""What is known of one image: the ids of the labelled nuclei, or a fully labelled window."""


def write_manifest(
    path: str | Path,
    choices: Mapping[str, Choice],
    settings: Mapping[str, object] | None = None,
) -> None:
    """Write which labels were kept, one image a line, so that a run can be repeated.

    Args:
        path: JSON file; it appears complete or not at all.
        choices: For each image id what `Annotation.choose` returned.
        settings: What led to the choice (`Annotation.settings()`), for people who look into the
            file; `read_manifest` ignores it.

    Raises:
        UserError: If the file cannot be written.
    """
    lines = [
        f"  {json.dumps(image_id)}: {json.dumps(_encoded(choice))}"
        for image_id, choice in sorted(choices.items())
    ]
    text = (
        f'{{"format": "{FORMAT}",\n "settings": {json.dumps(dict(settings or {}))},\n'
        ' "images": {\n' + ",\n".join(lines) + "\n }}\n"
    )
    write_text(path, text)


def read_manifest(path: str | Path) -> dict[str, Choice]:
    """Read a manifest of kept labels.

    Returns:
        For each image id the ids of its kept nuclei or its window, as `write_manifest` took it.

    Raises:
        UserError: If the file is missing or not a manifest.
    """
    content = read_json(path, "give a manifest.json that nucleist wrote")
    images = content.get("images")
    if not isinstance(images, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path}: not a manifest of kept labels; give one that nucleist wrote")
    return {image_id: _decoded(entry, image_id, path) for image_id, entry in images.items()}


def _encoded(choice: Choice) -> dict[str, list[int]]:
    if isinstance(choice, Window):
        return {"window": [int(value) for value in choice]}
    return {"ids": sorted(int(value) for value in choice)}


def _decoded(entry: object, image_id: str, path: str | Path) -> Choice:
    key, values = next(iter(entry.items()), ("", None)) if isinstance(entry, dict) else ("", None)
    if isinstance(values, list) and all(type(v) is int and v >= 0 for v in values):
        if key == "ids" and 0 not in values:
            return sorted(values)
        if key == "window" and len(values) == 4:
            window = Window(*values)
            if window.y0 < window.y1 and window.x0 < window.x1:
                return window
    raise UserError(
        f"{path}: the entry of image {image_id!r} is neither ids of nuclei nor a window "
        "[y0, x0, y1, x1]; give a manifest that nucleist wrote"
    )
