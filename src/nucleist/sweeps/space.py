"""A search space written as overrides: which are ranges to choose from, and which are fixed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nucleist.config.grammar import IntervalSweep, Override, RangeSweep, parse
from nucleist.types import UserError


@dataclass(frozen=True)
class Range:
    """A key with values to choose from.

    Attributes:
        key: As in an override, `+` included.
        words: The values as they were declared.
        distribution: The same for Optuna.
    """

    key: str
    words: str
    distribution: Any

    def override(self, value: Any) -> str:
        """The override that chooses a value."""
        return f"{self.key}={value}"

    def first(self) -> str:
        """The override that chooses its first value."""
        choices = getattr(self.distribution, "choices", None)
        return self.override(choices[0] if choices else self.distribution.low)


def split(overrides: Sequence[str]) -> tuple[list[str], dict[str, Range]]:
    """Fixed overrides, and ranges by key; of a repeated key the last counts, `~key` drops a range.

    `interval(a,b)` is all numbers between, `int(interval(a,b))` the whole ones, a `tag(log,...)`
    around them chooses by the logarithm; `range(a,b,step)` steps below `b`; `choice(x,y)` and
    `x,y` are values without an order.

    Raises:
        UserError: If a range is not valid, or nothing is left to choose.
    """
    chosen: dict[str, Override] = {}
    for part in parse(overrides):
        before = chosen.pop(part.key_or_group, None)
        if not (part.is_delete() and before is not None and before.is_sweep_override()):
            chosen[part.key_or_group] = part
    fixed = [str(part.input_line) for part in chosen.values() if not part.is_sweep_override()]
    ranges = {key: _range(part) for key, part in chosen.items() if part.is_sweep_override()}
    if not ranges:
        raise UserError("there is nothing to choose; write key=interval(a,b) or key=choice(x,y)")
    if "seed" in ranges:
        raise UserError(
            f"'seed={ranges['seed'].words}': the best seed is luck, not a setting; give one"
        )
    return fixed, ranges


def _range(part: Override) -> Range:
    words = str(part.input_line).split("=", 1)[1]
    try:
        return Range(part.get_key_element(), words, _distribution(part))
    except (ValueError, IndexError) as error:
        raise UserError(f"{part.input_line!r} is not a range to choose from ({error})") from error


def _distribution(part: Override) -> Any:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    value: Any = part.value()
    tags: set[str] = getattr(value, "tags", set())
    if tags - {"log"} or (tags and not isinstance(value, IntervalSweep)):
        raise ValueError("the one tag is log, of an interval")
    if isinstance(value, IntervalSweep):
        low, high = value.start, value.end
        whole = isinstance(low, int) and isinstance(high, int)
        kind = IntDistribution if whole else FloatDistribution
        return kind(low, high, log="log" in tags)  # type: ignore[arg-type]
    if isinstance(value, RangeSweep):
        steps = [float(number) if "." in str(number) else int(number) for number in value.range()]
        whole = all(isinstance(number, int) for number in steps)
        kind = IntDistribution if whole else FloatDistribution
        return kind(steps[0], steps[-1], step=value.step)  # type: ignore[arg-type]
    return CategoricalDistribution(list(part.sweep_string_iterator()))
