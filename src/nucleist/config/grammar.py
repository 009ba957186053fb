"""Hydra's grammar of overrides: single values, lists of values and ranges.

`Override`, `IntervalSweep` and `RangeSweep` are Hydra's own types.
"""

from collections.abc import Sequence
from typing import Any

import hydra
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException, OverrideParseException
from hydra.utils import get_class

from nucleist.config.paths import with_paths
from nucleist.types import UserError

__all__ = ["IntervalSweep", "Override", "RangeSweep", "class_of", "expand", "parse"]


def class_of(node: Any) -> Any:
    """The class that a configuration node names as its `_target_`."""
    return get_class(node._target_)


def expand(overrides: Sequence[str]) -> list[list[str]]:
    """All combinations of the listed values, exactly as Hydra's `--multirun` takes them.

    >>> expand(["a=1,2", "b=range(2)", "c=[1,2]"])[1]
    ['a=1', 'b=1', 'c=[1,2]']

    Raises:
        UserError: If a word is not an override, or stands for infinitely many values.
    """
    parsed = parse(overrides)
    for part in parsed:
        if part.is_sweep_override() and not part.is_discrete_sweep():
            raise UserError(f"{part.input_line!r} is not a list of values; write key=value,value")
    try:
        return BasicSweeper.split_arguments(parsed, None)[0]
    except (HydraException, ValueError) as error:  # ValueError: a range with step 0
        raise UserError(str(error).splitlines()[0]) from error


def parse(overrides: Sequence[str]) -> list[Override]:
    """Overrides as Hydra reads them.

    Raises:
        UserError: If a word is not an override.
    """
    with hydra.initialize_config_module("nucleist.conf", version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()  # glob(...) asks it for the choices
        try:
            words = with_paths(overrides, many=True)
            return OverridesParser.create(config_loader=loader).parse_overrides(words)
        except OverrideParseException as error:
            raise UserError(
                f"{error.override!r} is not an override; write key=value,value or "
                "group=choice,choice, quoting what the shell would change"
            ) from error
        except HydraException as error:
            raise UserError(str(error).splitlines()[0]) from error
