"""The weights that come with the package, by name: their files, hashes and model cards.

`files/` beside this module has for each name `NAME.safetensors`, which
`nucleist.models.weights.portable` describes, and `NAME.md`, the model card; `sha256.json` has the
hash of each file of weights. `make weights` makes them.
"""

import hashlib
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from nucleist.files import read_json
from nucleist.types import UserError

REMEDY = "install nucleist again"


def folder() -> Path:
    """The folder of the files."""
    return Path(str(files("nucleist.models.weights").joinpath("files")))


@lru_cache
def hashes() -> dict[str, str]:
    """SHA-256 of the weights, hexadecimal, by name."""
    return read_json(folder() / "sha256.json", REMEDY)


def shipped_file(name: str) -> Path | None:
    """The file of weights that come with the package; None if there are none of this name.

    Raises:
        UserError: If the file is missing or is not the one that was published.
    """
    if name not in hashes():
        return None
    path = folder() / f"{name}.safetensors"
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; {REMEDY}") from error
    if found != hashes()[name]:
        raise UserError(f"{path}: not the file that was published (another hash); {REMEDY}")
    return path


def card(name: str) -> str:
    """The model card in Markdown: data, licence, command, scores, what the model cannot do.

    Raises:
        UserError: If there are no such weights.
    """
    if name not in hashes():
        raise UserError(f"{name}: no such model in the package; there is {', '.join(hashes())}")
    return (folder() / f"{name}.md").read_text(encoding="utf-8")
