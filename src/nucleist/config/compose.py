"""Compose a configuration with Hydra; an error becomes one line with its remedy."""

import copy
import difflib
import re
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

import hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import OverrideType
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    OverrideParseException,
)
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nucleist.config.earlier import NOW, lacking
from nucleist.config.paths import with_paths
from nucleist.config.settings import quoted
from nucleist.types import UserError

OF_MANY_RUNS = {
    "search": "use nucleist.plan_search and run_search",
    "sweep": "use nucleist.plan_sweep and run_sweep",
    "launcher": "it is for many runs: nucleist train -m, or nucleist.plan_sweep",
}
"""Groups of `conf/multirun.yaml`, and what to use for them in place of a single training.

The command line sorts out `search=` and `sweep=` itself.
"""

SHIPPED, RECIPE = "weights=nuclei", "+recipe=finetune"
"""Weights that come with the package, and how a training goes on from them."""

_COMPOSITION = (
    *(ConfigCompositionException, OmegaConfBaseException, HydraException),
    *(ValueError, AttributeError, AssertionError),  # of Hydra, for instance for model=null
)


def compose(name: str, overrides: Sequence[str]) -> DictConfig:
    """Compose `conf/<name>.yaml` with `key=value` and `group=choice` overrides.

    A part that is given with its constructor, `model={_target_: mypackage.net, width: 8}`, takes
    the place of the default one; Hydra would leave the keys of the default beside those given.
    `weights=nuclei` takes `recipe/finetune` unless a recipe is named.

    Raises:
        UserError: For an unknown key, group or choice, with the nearest one that exists; for
            Hydra's own keys, which have no effect here.
    """
    for word in overrides:
        if word.lstrip("+~").startswith(("hydra.", "hydra/")):
            raise UserError(
                f"{word!r}: nucleist has its own run folders; use runs=, name=, folder=, launcher="
            )
    overrides = with_recipe(with_paths(overrides))
    parts, others = _whole_parts(overrides)
    with hydra.initialize_config_module("nucleist.conf", version_base="1.3"):
        try:
            config = _composed(name, others)
            for key, part in parts.items():
                OmegaConf.update(config, key, {**lacking(part, NOW), **part}, merge=False)
            default = _default(name, *_of_groups(overrides))
        except OverrideParseException as error:
            raise UserError(_unreadable(name, others, str(error.override))) from error
        except _COMPOSITION as error:
            raise UserError(_explain(name, overrides, error)) from error
    _check_types(config, default, overrides)
    data = config.get("data") or {}
    if data.get("splits") and (data.get("folds") or data.get("fractions")):
        if not any(word.startswith("data.splits") for word in overrides):
            config.data.splits.val = "val"  # splits by group have one; the test is looked at once
    return config


def _composed(name: str, words: list[str]) -> DictConfig:
    """What `hydra.compose` composes; that reads 20 files each time and takes 0.15 s.

    Only choices of groups decide which files are read: each set of them is composed once. Other
    words are applied to a copy, by the function with which Hydra does it.
    """
    loader = GlobalHydra.instance().config_loader()
    assert isinstance(loader, ConfigLoaderImpl)
    choices, values = [], []
    parsed = OverridesParser.create().parse_overrides(words)
    ConfigLoaderImpl.validate_sweep_overrides_legal(parsed, RunMode.RUN, from_shell=False)
    for word, part in zip(words, parsed, strict=True):
        group = loader.repository.group_exists(part.key_or_group)
        if group and not isinstance(part.value(), dict):
            choices.append(word)
        else:
            values.append(part)
    config = copy.deepcopy(_default(name, *choices))
    ConfigLoaderImpl._apply_overrides_to_config(values, config)
    return config


def with_recipe(overrides: Sequence[str]) -> list[str]:
    """The overrides, and for weights that come with the package their recipe, if none is named."""
    named = any(word.lstrip("+~").startswith("recipe=") for word in overrides)
    return [*overrides, *([] if named or SHIPPED not in overrides else [RECIPE])]


def _whole_parts(overrides: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Parts that are given whole, with their constructor, by key; and the other overrides."""
    parts: dict[str, Any] = {}
    others: list[str] = []
    for word in overrides:
        key, _, value = word.partition("=")
        if value.lstrip().startswith("{") and "_target_" in value:
            with suppress(HydraException):  # which Hydra raises again for `others`
                override = OverridesParser.create().parse_override(word)
                given = override.value()
                whole = isinstance(given, dict) and "_target_" in given
                if whole and override.type == OverrideType.CHANGE:
                    parts[key] = given
                    continue
        others.append(word)
    return parts, others


def _unreadable(name: str, overrides: Sequence[str], word: str) -> str:
    """About a word that Hydra's grammar does not take."""
    key, equals, value = word.partition("=")
    keys = [*_known_keys(name, [other for other in overrides if other != word]), *_groups()]
    if equals and key.lstrip("+~") in keys:
        inside = f'"{key}={quoted(value)}"'
        return f"{word!r} is not an override; a text with such characters needs quotes: {inside}"
    if equals and re.fullmatch(r"[+~]*[\w./@-]+", key):
        return f"{word!r}: there is no key {key!r}; {_nearest(key, keys)}"
    return (
        f"{word!r} is not an override; write key=value or group=choice, "
        "quoting what the shell would change"
    )


def _explain(name: str, overrides: Sequence[str], error: Exception) -> str:
    text = str(error)
    missing = re.search(r"Could not find '([\w./-]+)'", text)
    if missing:
        group, _, choice = missing.group(1).rpartition("/")
        there = _choices(group) or re.findall(r"^\t(\S+)", text, re.MULTILINE)
        return f"there is no {group} {choice!r}; {_nearest(choice, there)}"
    unused = re.search(r"Could not override '([\w./-]+)'", text)
    if unused and _choices(unused.group(1)):  # a group, but not of this command
        group = unused.group(1)
        hint = f"; {OF_MANY_RUNS[group]}" if name == "train" and group in OF_MANY_RUNS else ""
        return f"{group}=... does not go with this command{hint}"
    for override in sorted(overrides, key=len, reverse=True):  # the longest is the nearest
        key = override.lstrip("+~").split("=")[0].split("@")[0]
        if key and key in text:
            if "/" in key and key.rpartition("/")[0] not in _groups():
                return f"{override}: neither a file that is there nor a setting; check the path"
            if "Ambiguous value" in text:
                comma = re.fullmatch(r"-?\d+,\d+", override.partition("=")[2])
                if comma and isinstance(_plain_value(_default(name), key), float):
                    point = f"{key}={comma[0].replace(',', '.')}"
                    return f"{override!r} is a list of values; the number is written {point}"
                return f"{override!r} is a list of values; nucleist train -m trains a run for each"
            keys = [*_known_keys(name, overrides), *_groups()]
            if key in keys and "already" in text:
                return f"{override!r}: there is a key {key!r} already; leave the + out"
            if key in keys:
                return f"{override!r}: {text.splitlines()[0]}"
            return f"{override!r}: there is no key {key!r}; {_nearest(key, keys)}"
    for override in overrides:
        group, _, choice = override.partition("=")
        if choice == "null" and _choices(group):
            choices = ", ".join(_choices(group))
            return f"{override!r}: null is not a choice; leave it out, or use one of {choices}"
    return text.splitlines()[0]


def _of_groups(overrides: Sequence[str]) -> list[str]:
    """The overrides that choose a file of a group: `data=kumar`, not `data.workers=2`."""
    pairs = [(override, *override.partition("=")[::2]) for override in overrides]
    return [whole for whole, group, choice in pairs if choice in _choices(group)]


def _known_keys(name: str, overrides: Sequence[str]) -> list[str]:
    """All keys with the chosen groups, or of the defaults if those do not compose."""
    try:
        return _keys(_default(name, *_of_groups(overrides)))
    except _COMPOSITION:
        return _keys(_default(name))


@lru_cache
def _default(name: str, *groups: str) -> DictConfig:
    """The configuration of these choices of groups; it is cached, so do not change it."""
    return hydra.compose(name, list(groups))


def _check_types(config: DictConfig, default: DictConfig, overrides: Sequence[str]) -> None:
    """Refuse a text where the default is a number, or anything but a bool where it is a bool.

    Raises:
        UserError: For the first such override.
    """
    keys = [override.lstrip("+~").partition("=")[0] for override in overrides]
    for key in (key for key in keys if not key.startswith("trainer.")):  # devices=auto
        old, new = (_plain_value(node, key) for node in (default, config))
        if old is None or new is None or isinstance(new, list | dict):
            continue
        if isinstance(old, bool) and new not in (True, False):  # 1 and 0 equal them
            raise UserError(f"{key}={new} is neither true nor false; the default is {old}")
        if isinstance(old, int | float) and not isinstance(old, bool) and not _is_number(new):
            raise UserError(f"{key}={new} is not a number; the default is {old}")


def _is_number(value: Any) -> bool:
    """Whether a value is a number or the text of one, such as an environment variable."""
    try:
        float(value)
    except ValueError:
        return False
    return not isinstance(value, bool)


def _plain_value(node: DictConfig, key: str) -> Any:
    """The value at a key; None if there is none or its reference cannot be resolved."""
    try:
        found = OmegaConf.select(node, key, throw_on_resolution_failure=False)
    except OmegaConfBaseException:
        return None
    return OmegaConf.to_container(found) if OmegaConf.is_config(found) else found


def _nearest(word: str, choices: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, choices, 1, 0.5)
    rest = f"there is {', '.join(choices)}" if len(choices) < 30 else "see nucleist train --cfg"
    return f"did you mean {close[0]!r}?" if close else rest


def _groups() -> list[str]:
    loader = GlobalHydra.instance().config_loader()
    return [g for g in loader.get_group_options("") if g != "hydra"]


@lru_cache(maxsize=1000)
def _choices(group: str) -> tuple[str, ...]:
    """The files of a group, by name; none if it is no group."""
    return tuple(GlobalHydra.instance().config_loader().get_group_options(group))


def _keys(node: Any, prefix: str = "") -> list[str]:
    if not isinstance(node, DictConfig):
        return [prefix.rstrip(".")]
    own = [prefix.rstrip(".")] if prefix else []
    children = OmegaConf.to_container(node, resolve=False)
    assert isinstance(children, dict)
    return own + [k for key in children for k in _keys(node._get_node(key), f"{prefix}{key!s}.")]


def written_out(name: str, overrides: Sequence[str]) -> str:
    """The composed configuration as YAML, references as they are written."""
    return OmegaConf.to_yaml(compose(name, overrides))
