"""Compose a configuration by Hydra, and say in one line what is wrong with it."""

import difflib
import re
from collections.abc import Sequence
from typing import Any

import hydra
import torch
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    InstantiationException,
    OverrideParseException,
)
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from karyon.types import UserError


def gpu_precision() -> str:
    """Lightning's name of bfloat16 autocast if the GPU here has it, else of float32."""
    has = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16-mixed" if has else "32-true"


OmegaConf.register_new_resolver("gpu_precision", gpu_precision, replace=True)


def compose(name: str, overrides: Sequence[str]) -> DictConfig:
    """Compose `conf/<name>.yaml` with `key=value` and `group=choice` overrides.

    Raises:
        UserError: For an unknown key, group or choice, with the nearest that exists.
    """
    with hydra.initialize_config_module("karyon.conf", version_base="1.3"):
        try:
            return hydra.compose(name, list(overrides))
        except OverrideParseException as error:
            raise UserError(
                f"{error.override!r} is not an override; write key=value or group=choice, "
                "quoting what the shell would change"
            ) from error
        except (ConfigCompositionException, OmegaConfBaseException, HydraException) as error:
            raise UserError(_explain(name, overrides, error)) from error


def _explain(name: str, overrides: Sequence[str], error: Exception) -> str:
    text = str(error)
    missing = re.search(r"Could not find '([\w./-]+)'", text)
    if missing:
        group, _, choice = missing.group(1).rpartition("/")
        there = re.findall(r"^\t(\S+)", text, re.MULTILINE) or _choices(group)
        return f"there is no {group} {choice!r}; {_nearest(choice, there)}"
    for override in sorted(overrides, key=len, reverse=True):  # the longest is the nearest
        key = override.lstrip("+~").split("=")[0].split("@")[0]
        if key and key in text:
            if "Ambiguous value" in text:
                return f"{override!r} is a list of values; karyon train -m trains a run for each"
            keys = [*_keys(hydra.compose(name)), *_groups()]
            if key in keys:
                return f"{override!r}: there is no key {key!r} with the model and groups chosen"
            return f"{override!r}: there is no key {key!r}; {_nearest(key, keys)}"
    return text.splitlines()[0]


def _nearest(word: str, choices: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, choices, 1, 0.5)
    rest = f"there is {', '.join(choices)}" if len(choices) < 30 else "see karyon train --cfg"
    return f"did you mean {close[0]!r}?" if close else rest


def _groups() -> list[str]:
    from hydra.core.global_hydra import GlobalHydra

    loader = GlobalHydra.instance().config_loader()
    return [g for g in loader.get_group_options("") if g != "hydra"]


def _choices(group: str) -> list[str]:
    from hydra.core.global_hydra import GlobalHydra

    return GlobalHydra.instance().config_loader().get_group_options(group)


def _keys(node: Any, prefix: str = "") -> list[str]:
    if not isinstance(node, DictConfig):
        return [prefix.rstrip(".")]
    own = [prefix.rstrip(".")] if prefix else []
    children = OmegaConf.to_container(node, resolve=False)
    assert isinstance(children, dict)
    return own + [k for key in children for k in _keys(node._get_node(key), f"{prefix}{key!s}.")]


def build(node: Any, **extra: Any) -> Any:
    """Instantiate a configuration node.

    Raises:
        UserError: As raised inside, or if an argument does not fit its constructor.
    """
    try:
        return hydra.utils.instantiate(node, **extra)
    except InstantiationException as error:
        cause = _user_error(error)
        if cause is not None:
            raise cause from None
        inner = error.__cause__ or error
        key = re.search(r"full_key: (\S+)", str(error))
        where = key.group(1) if key else "configuration"
        raise UserError(f"{where}: {str(inner).splitlines()[0]}") from error
    except MissingMandatoryValue as error:
        name = str(error).splitlines()[0].rpartition(" ")[2]
        raise UserError(f"{name} has no value; write {name}=VALUE") from error
    except OmegaConfBaseException as error:
        raise UserError(str(error).splitlines()[0]) from error


def plain(node: Any) -> Any:
    """A configuration as plain dicts, lists and numbers, all references resolved.

    Raises:
        UserError: As raised by what a reference stands for.
    """
    try:
        return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    except OmegaConfBaseException as error:
        raise _user_error(error) or UserError(str(error).splitlines()[0]) from error


def _user_error(error: BaseException | None) -> UserError | None:
    """The `UserError` that another exception was raised from, if any."""
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__
    return error
