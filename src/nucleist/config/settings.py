"""Settings as overrides: from Python values, and for the thing that a training is pointed at."""

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from numbers import Integral, Real
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

from hydra.core.override_parser.types import Quote, QuotedString

from nucleist.types import UserError

_BARE = re.compile(r"[A-Za-z_][\w./-]*", re.ASCII)
_WORDS = {"null", "true", "false", "none", "nan", "inf"}


def overrides_of(settings: Mapping[str, Any]) -> list[str]:
    """Settings from Python as overrides.

    >>> overrides_of({"steps": 600, "data": {"annotation_fraction": 0.25}, "model": "dist"})
    ['steps=600', 'data.annotation_fraction=0.25', 'model=dist']
    >>> overrides_of({"model": {"_target_": "mypackage.net", "widths": [8, 16]}})
    ['model={_target_:mypackage.net,widths:[8,16]}']

    Args:
        settings: Values by key; a dict as value stands for dotted keys, unless it has a
            `_target_`: then it is a whole part, which takes the place of the default one.

    Raises:
        UserError: If a value is not a number, a text, a path, a list or a dict.
    """
    return [f"{key}={_value(key, value)}" for key, value in _flat(settings)]


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping) and value and "_target_" not in value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _value(key: str, value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Integral):
        return repr(int(value))
    if isinstance(value, Real):
        return repr(float(value))
    if isinstance(value, str | Path):
        return as_text(str(value))
    if isinstance(value, Sequence):
        return f"[{','.join(_value(key, part) for part in value)}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{name}:{_value(key, part)}' for name, part in value.items())}}}"
    kind = type(value).__name__
    raise UserError(f"{key} is a {kind}; give a number, a text, a path, a list or a dict")


def as_text(text: str) -> str:
    """A text for Hydra, quoted only where Hydra would take it for something else."""
    is_bare = _BARE.fullmatch(text) and text.lower() not in _WORDS
    return text if is_bare else quoted(text)


def quoted(text: str) -> str:
    """A text quoted for Hydra, so that it is one value whatever characters it contains."""
    return QuotedString(text, Quote.single).with_quotes()


def choices(group: str) -> list[str]:
    """Names of the choices of a group: the files in `conf/<group>` except `base`."""
    found = files("nucleist.conf").joinpath(group)
    names = [Path(file.name) for file in found.iterdir()] if found.is_dir() else []
    return sorted(n.stem for n in names if n.suffix == ".yaml" and n.stem != "base")


def what_to_train(what: str | Path | None) -> list[str]:
    """Overrides for what a training is pointed at.

    Args:
        what: Name of an experiment or of a data set, or a folder of images; None for the
            defaults. Of a name that is a folder as well, the folder is meant if it is written
            with a slash, `./kumar`, or given as a `Path`.

    Raises:
        UserError: If it is none of them; with the nearest name.
    """
    if what is None:
        return []
    text = str(what)
    experiments, data_sets = choices("experiment"), choices("data")
    if what in experiments:  # a `Path` is equal to no name
        return [f"experiment={what}"]
    if what in data_sets:
        return [f"data={what}"]
    if _exists(what):
        return folder_of_images(what)
    near = difflib.get_close_matches(text, [*experiments, *data_sets], 1, 0.6)
    hint = f"did you mean {near[0]!r}?" if near else "give one of them"
    raise UserError(f"{text}: neither a folder nor an experiment nor a data set; {hint}")


def data_overrides(data: str | Path) -> list[str]:
    """Overrides for a data set's name or a folder of images; see `what_to_train`.

    Raises:
        UserError: If it is neither; with the nearest name.
    """
    text, data_sets = str(data), choices("data")
    if data in data_sets:
        return [f"data={data}"]
    if _exists(data):
        return folder_of_images(data)
    near = difflib.get_close_matches(text, data_sets, 1, 0.6)
    hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(data_sets)}"
    raise UserError(f"{text}: neither a folder nor a data set; {hint}")


def _exists(path: str | Path) -> bool:
    """Whether there is such a file or folder; False for texts that cannot be a path."""
    return os.path.exists(os.path.expanduser(path))


def folder_of_images(folder: str | Path) -> list[str]:
    """Overrides for a folder (or zip) of the user's own images.

    Raises:
        UserError: If it is a file of another kind.
    """
    path = Path(folder).expanduser()
    if path.is_file() and path.suffix.lower() != ".zip" and not is_zipfile(path):
        raise UserError(f"{folder}: a single file; give the folder it is in, or a .zip of images")
    return ["data=folder", f"data.source.root={quoted(os.path.expanduser(folder))}"]
