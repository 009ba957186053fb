"""Options of a trained net that are changed after its training: `model.KEY=VALUE`."""

import copy
import difflib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.utils import get_object

from nucleist.types import UserError


def parsed(words: Sequence[str]) -> dict[str, Any]:
    """Values by key from words of the form `key=value`, each a single value.

    Raises:
        UserError: If a value cannot be read, or is a list of several values.
    """
    values: dict[str, Any] = {}
    for word in words:
        try:
            override = OverridesParser.create().parse_override(word)
        except HydraException as error:
            raise UserError(f"{word!r} is not a setting; write key=value") from error
        if override.is_sweep_override():
            raise UserError(f"{word!r} is a list of values; give one, and run again for each")
        values[override.key_or_group] = override.value()
    return values


def with_options(
    model: Mapping[str, Any], options: Mapping[str, Any], begin: str = "model"
) -> dict[str, Any]:
    """A copy of a model's configuration with some options changed.

    Args:
        model: The configuration of a model, as stored with its weights.
        options: Values by dotted key. A key is one of the stored configuration, or a parameter
            of the constructor that had its default value in the training.
        begin: What keys begin with in messages.

    Raises:
        UserError: For any other key, with the nearest that exists.
    """
    changed = copy.deepcopy(dict(model))
    known = list(dict.fromkeys(_keys(changed)))
    for key, value in options.items():
        if key not in known:
            close = difflib.get_close_matches(key, known, 1, 0.5)
            rest = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(known)}"
            name = str(changed.get("_target_")).rpartition(".")[2]
            raise UserError(f"{begin}.{key}={value}: {name} has no such option; {rest}")
        *path, last = key.split(".")
        node = changed
        for part in path:
            node = node[part]
        _check_kind(f"{begin}.{key}", node.get(last), value)
        node[last] = value
    return changed


def _check_kind(key: str, old: Any, new: Any) -> None:
    """Refuse a value of another kind than the stored one.

    Raises:
        UserError: If a text takes the place of a number, or anything else that of a list; of a
            group of options only numbers may be replaced, by one for all of them.
    """
    if isinstance(old, dict) and not isinstance(new, dict):
        if not (_is_number(new) and old and all(map(_is_number, old.values()))):
            raise UserError(f"{key}={new}: a group of options; set one, {key}.{next(iter(old))}=")
    elif isinstance(old, bool) and new not in (True, False, None):
        raise UserError(f"{key}={new} is neither true nor false; it was {old}")
    elif _is_number(old) and not (new is None or _is_number(new)):
        raise UserError(f"{key}={new} is not a number; it was {old}")
    elif isinstance(old, list) and not (new is None or isinstance(new, list)):
        raise UserError(f"{key}={new} is not a list; it was {old}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _keys(node: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted keys of the stored configuration and of the parameters of its constructors."""
    if target := node.get("_target_"):
        for name, parameter in inspect.signature(get_object(target)).parameters.items():
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                yield prefix + name
    for key, value in node.items():
        if not key.startswith("_"):
            yield prefix + key
            if isinstance(value, dict):
                yield from _keys(value, f"{prefix}{key}.")
