"""A record of what a folder of results was made from, so that the same command can go on."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from nucleist.data.formats.channels import CLEAR, Choice
from nucleist.files import checksum, text_hash
from nucleist.inference.load import Model
from nucleist.inference.scaling import AS_IT_IS, Scaling
from nucleist.inference.tiles.cut import BY_SIZE, Cut

NAME = ".nucleist_predict.jsonl"
"""The record in a folder of results: a line for each image, written when its results are."""


BEFORE = ("labels", "overlay", "csv")
"""What was saved of an image before lines said so."""


_LARGE = 1 << 30
"""Bytes of a file that is not read for its hash alone."""


def settings_hash(
    model: Model,
    threshold: float,
    choice: Choice = CLEAR,
    pieces: float = 0,
    cut: Cut = BY_SIZE,
    scaling: Scaling = AS_IT_IS,
    symmetries: int = 1,
) -> str:
    """A hash of everything but the image that a result depends on.

    Args:
        model: Its weights, options and normalisation count.
        threshold: The score threshold.
        choice: Which channel and plane of the images.
        pieces: Share of small pieces.
        cut: How large images are cut, as it was asked for.
        scaling: What was said of the scale of the images.
        symmetries: Positions that each image is outlined in.
    """
    state = model.net.state_dict()
    weights = ((name, [w.float().cpu().numpy()]) for name, w in state.items())
    config = {key: model.config.get(key) for key in ("model", "normalize")}
    asked = f"{threshold} {choice}" + (f" {pieces}" if pieces else "")
    asked += "" if cut == BY_SIZE else f" {cut}"
    asked += f" t={choice.t}" if choice.t is not None else ""
    asked += f" {scaling}" if scaling else ""
    asked += f" symmetries={symmetries}" if symmetries != 1 else ""
    return text_hash(f"{checksum(weights)} {asked} {json.dumps(config, default=str)}")


def origin_of(line: Mapping[str, str]) -> str:
    """What the labels of a result were made from; see `nucleist.data.formats.traced.nucleus_id`.

    Args:
        line: `image` and `settings`, their hashes.
    """
    return f"{line['image']} {line['settings']}"


def image_hash(image: PathLike[str]) -> str:
    """A hash of a file, of a large one or a folder that of its parts' sizes and times.

    Empty if it cannot be read.
    """
    path = Path(image)
    try:
        if path.is_dir() or path.stat().st_size > _LARGE:
            return _state_hash(path)
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError:
        return ""


def _state_hash(path: Path) -> str:
    files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    states = [(one.name, one.stat().st_size, one.stat().st_mtime_ns) for one in files]
    return hashlib.sha256(repr(states).encode()).hexdigest()[:16]


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """The latest line about each result, by its name; empty without a record.

    `nuclei` is None of an image that was begun and not finished; `saved` names the files that are
    from this line or earlier ones with the same settings.
    """
    try:
        lines = (folder / NAME).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    return _latest(lines)


def _latest(lines: Iterable[str | bytes]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for line in lines:
        try:
            one = json.loads(line)
            count = one.get("nuclei")
            one |= {"nuclei": None if count is None else int(count)}
            one["saved"] = [str(name) for name in one.get("saved", BEFORE)]
            found[one["name"]] = one | {key: str(one[key]) for key in ("image", "settings")}
        except (ValueError, TypeError, KeyError, AttributeError):
            continue  # cut while it was written
    return found


class Since:
    """What has been recorded in a folder since this was made, by whichever process."""

    def __init__(self, folder: Path) -> None:
        """Begin after the lines that are there.

        Args:
            folder: The folder of results, which need not exist.
        """
        self._path = folder / NAME
        self._end = self._path.stat().st_size if self._path.is_file() else 0
        self._found: dict[str, dict[str, Any]] = {}

    def of(self, name: str) -> dict[str, Any] | None:
        """The latest line about a result, as of `read`; None without a new one."""
        if self._path.is_file():
            with self._path.open("rb") as file:
                file.seek(self._end)
                whole, _, _ = file.read().rpartition(b"\n")
            self._end += len(whole) + 1 if whole else 0
            self._found |= _latest(whole.splitlines())
        return self._found.get(name)


def add(folder: Path, name: str, content: Mapping[str, Any]) -> None:
    """Add a line to the record; several processes may do so at a time.

    Args:
        folder: The folder of results.
        name: Name of the result, without ending.
        content: `image` and `settings`, their hashes, and if it is finished `nuclei`, the number
            found; `saved`, the names of what was written. Further ones are kept.
    """
    line = json.dumps({"name": name, **content}) + "\n"
    with (folder / NAME).open("a", encoding="utf-8") as file:
        file.write(line)  # one write, so that lines of several processes do not mix
