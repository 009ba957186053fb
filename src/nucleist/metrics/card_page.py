"""Cards by name, and cards as a page of Markdown."""

import difflib
import re
from collections.abc import Sequence

from nucleist.metrics.cards import Card, card_of, cards
from nucleist.types import UserError

HEAD = """# Metrics

What every number means, as `nucleist metrics NAME` prints it. In logs and tables a name may end in
`_pooled` or `_per_image`. Made from the docstrings of what computes them, by
`nucleist metrics all --markdown > docs/metrics.md`.
"""


def metric_cards(names: str | Sequence[str] = ()) -> list[Card]:
    """What the numbers in tables and logs mean.

    Args:
        names: A name, or names, of metrics, columns or keys; none for all.

    Returns:
        A card with title, formula, matching rule, averages and edge cases for each.

    Raises:
        UserError: If there is no such metric, with the nearest that exists.

    Examples:
        >>> metric_cards(["val/aji_pooled"])[0].names
        ('aji',)
    """
    chosen = [names] if isinstance(names, str) else names
    return [_find(name) for name in chosen] if chosen else cards()


def _find(name: str) -> Card:
    card = card_of(name)
    if card is None:
        names = [name for card in cards() for name in card.names]
        near = difflib.get_close_matches(name, names, 1, 0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(names)}"
        raise UserError(f"there is no metric {name!r}; {hint}")
    return card


def rows_of(card: Card) -> dict[str, str]:
    """The contents of a card by heading, without the empty ones."""
    rows = {"what": card.title, "formula": card.formula, "more": card.notes}
    rows |= {name.lower(): value for name, value in card.fields.items()}
    rows["function"] = card.function
    return {name: value for name, value in rows.items() if value}


def markdown(chosen: Sequence[Card]) -> str:
    """Cards as a page of Markdown."""
    return "\n".join([HEAD, *map(_section, chosen)])


def _section(card: Card) -> str:
    """A card as a heading, its paragraphs, its formula as it is, and a list of the rest."""
    rows = rows_of(card)
    parts = [f"## {', '.join(card.names)}", _escaped(rows.pop("what"))]
    if formula := rows.pop("formula", ""):
        parts.append(f"```text\n{formula}\n```")
    if more := rows.pop("more", ""):
        parts.append(_escaped(more))
    function = rows.pop("function")
    items = [f"- **{name}**: {_escaped(value)}" for name, value in rows.items()]
    parts.append("\n".join([*items, f"- **function**: `{function}`"]))
    return "\n\n".join(parts) + "\n"


def _escaped(text: str) -> str:
    """Prose in which nothing is markup to Markdown."""
    return re.sub(r"([\\`*_<>|\[\]])", r"\\\1", text)
