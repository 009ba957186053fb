"""`nucleist metrics`: what the numbers in tables and logs mean."""

import difflib
import re
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nucleist.metrics.cards import Card, card_of, cards
from nucleist.types import UserError

HELP = """usage: nucleist metrics [NAME ...]

  nucleist metrics                     all metrics, one line each
  nucleist metrics map aji             their cards: formula, matching rule, averages, edge cases
  nucleist metrics val/map_per_image   names of columns and keys will do
  nucleist metrics all                 every card
  nucleist metrics all --markdown      the same as Markdown, as in docs/metrics.md
"""


def main(arguments: Sequence[str]) -> int:
    """Entry point of the verb."""
    if any(a in ("-h", "--help") for a in arguments):
        print(HELP)
        return 0
    names = [a for a in arguments if not a.startswith("-")]
    unknown = set(arguments) - {*names, "--markdown"}
    if unknown:
        raise UserError(f"metrics has no option {unknown.pop()}; it has --markdown")
    chosen = cards() if names in ([], ["all"]) else [_find(name) for name in names]
    if "--markdown" in arguments:
        print(markdown(chosen), end="")
        return 0
    console = Console(highlight=False)
    if not names:
        console.print(_overview())
        print(
            "\nnucleist metrics NAME prints the card of a metric, nucleist metrics all every card."
        )
        return 0
    for card in chosen:
        console.print(_printed(card))
    return 0


def _find(name: str) -> Card:
    card = card_of(name)
    if card is None:
        names = [name for card in cards() for name in card.names]
        near = difflib.get_close_matches(name, names, 1, 0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(names)}"
        raise UserError(f"there is no metric {name!r}; {hint}")
    return card


def _overview() -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("metric", ratio=2)
    table.add_column("what it is", ratio=3)
    for card in cards():
        table.add_row(Text(", ".join(card.names)), Text(card.title))
    return table


def _printed(card: Card) -> Table:
    """A card as rows of a table without lines."""
    table = Table(
        title=Text(", ".join(card.names), "bold"),
        title_justify="left",
        box=box.HORIZONTALS,
        show_header=False,
    )
    table.add_column(no_wrap=True)
    table.add_column()
    for name, value in _rows(card).items():
        table.add_row(Text(name, "dim"), Text(value))
    return table


def _rows(card: Card) -> dict[str, str]:
    """What a card says, by heading."""
    rows = {"what": card.title, "formula": card.formula, "more": card.notes}
    rows |= {name.lower(): value for name, value in card.fields.items()}
    rows["function"] = card.function
    return {name: value for name, value in rows.items() if value}


def markdown(chosen: Sequence[Card]) -> str:
    """Cards as a page of Markdown."""
    head = (
        "# Metrics\n\n"
        "What every number means, as `nucleist metrics NAME` prints it. In logs and tables a name "
        "may end in\n`_pooled` or `_per_image`. Made from the docstrings of what computes them, "
        "by\n`nucleist metrics all --markdown > docs/metrics.md`.\n"
    )
    return "\n".join([head, *map(_section, chosen)])


def _section(card: Card) -> str:
    """A card as a heading, its paragraphs, its formula as it is, and a list of the rest."""
    rows = _rows(card)
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
