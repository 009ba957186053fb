"""`karyon metrics`: what the numbers in tables and logs mean."""

import difflib
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from karyon.metrics.cards import Card, card_of, cards
from karyon.types import UserError

HELP = """usage: karyon metrics [NAME ...]

  karyon metrics                     all metrics, one line each
  karyon metrics map aji             their cards: formula, matching rule, averages, edge cases
  karyon metrics val/map_per_image   names of columns and keys will do
  karyon metrics all                 every card
"""


def main(arguments: Sequence[str]) -> int:
    """Entry point of the verb."""
    if any(a in ("-h", "--help") for a in arguments):
        print(HELP)
        return 0
    console = Console(highlight=False)
    if not arguments:
        console.print(_overview())
        print("\nkaryon metrics NAME prints the card of a metric, karyon metrics all every card.")
        return 0
    chosen = cards() if list(arguments) == ["all"] else [_find(name) for name in arguments]
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
    rows = {"what": card.title, "formula": card.formula, "more": card.notes}
    rows |= {name.lower(): value for name, value in card.fields.items()}
    rows["function"] = card.function
    for name, value in rows.items():
        if value:
            table.add_row(Text(name, "dim"), Text(value))
    return table
