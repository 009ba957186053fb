"""Keys that hold a path: their value is the user's own, whatever characters it contains."""

import os
import re
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hydra.errors import HydraException

from nucleist.config.settings import as_text

_KEYS = re.compile(
    r"[+]{0,2}(runs|folder|weights|resume|data_root|data\.(cache|manifest)"
    r"|data(\.source)+\.(\w*root|labels))"
)
_FOLDER_OF_IMAGES = re.compile(r"[+]{0,2}data\.source\.images")
"""A folder for `data=folder`; a number for the readers that cut tiles."""
_FUNCTION = re.compile(r"(choice|glob|range|sort|shuffle|str)\(.*\)", re.DOTALL)
_PART = re.compile(r"\s*('(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|[^,]*)\s*(?:,|$)", re.DOTALL)
_REFERENCE = re.compile(r"\$\{[\w.]+(:[^}]*)?\}")
_ALONE = {"runs", "folder", "resume", "data.cache"}
"""Keys of which one value is for all runs of a sweep."""


def with_paths(words: Sequence[str], many: bool = False) -> list[str]:
    """The words of a command, each path among their values quoted for Hydra.

    >>> with_paths(["weights=2024", "data.source.root=a,b (1)", "seed=1"])
    ["weights='2024'", "data.source.root='a,b (1)'", 'seed=1']
    >>> with_paths(["weights=null,coco,2024"], many=True)
    ["weights=null,coco,'2024'"]

    A `~` at the beginning is the home folder; `null` and references (`${data_root}/a.pkl`) remain
    what they are, and so do quotes around a whole value.

    Args:
        words: `key=value` words.
        many: Whether a key may have a list of values: then commas separate paths, unless the
            whole is the name of something that exists.
    """
    of_folder = "data=folder" in words
    return [_with_path(word, many, of_folder) for word in words]


def holds_path(key: str, of_folder: bool = False) -> bool:
    """Whether a key holds a path.

    Args:
        key: A dotted key, with or without `+` before it.
        of_folder: Whether the data set is a folder of the user's own images.
    """
    return bool(_KEYS.fullmatch(key) or (of_folder and _FOLDER_OF_IMAGES.fullmatch(key)))


def _with_path(word: str, many: bool, of_folder: bool) -> str:
    key, equals, value = word.partition("=")
    if not equals or not value or not holds_path(key, of_folder):
        return word
    if many and key.lstrip("+") not in _ALONE and not os.path.lexists(os.path.expanduser(value)):
        if _FUNCTION.fullmatch(value.strip()):
            return word
        parts = [found[1] for found in _PART.finditer(value) if found[0]]
        return f"{key}={','.join(_one(part) for part in parts)}"
    return f"{key}={_one(value)}"


def _one(value: str) -> str:
    """One value, quoted where Hydra would take it for something else than this text."""
    given = _unquoted(value)
    if given is None and value.strip().lower() in ("null", ""):
        return value
    text = value if given is None else given
    text = os.path.expanduser(text) if text.startswith("~") else text
    if "${" in text and (os.path.lexists(text) or not _REFERENCE.search(text)):
        text = text.replace("${", "\\${")
    return value if text == given else as_text(text)


def _unquoted(value: str) -> str | None:
    """The text inside quotes around a whole value; None if there are none."""
    stripped = value.strip()
    if len(stripped) < 2 or stripped[0] != stripped[-1] or stripped[0] not in "'\"":
        return None
    if os.path.lexists(value):
        return None
    try:
        found = OverridesParser.create().parse_override(f"key={stripped}")._value
    except HydraException:
        return None
    return found.text if isinstance(found, QuotedString) else None
