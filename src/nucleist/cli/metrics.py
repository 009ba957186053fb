"""`nucleist metrics`: what the numbers in tables and logs mean."""

from collections.abc import Sequence
from typing import Any

from nucleist.cli.words import read, wants_help

HELP = """usage: nucleist metrics [NAME ...]

  nucleist metrics                     all metrics, one line each
  nucleist metrics map aji             their cards: formula, matching rule, averages, edge cases
  nucleist metrics val/map_per_image   names of columns and keys will do
  nucleist metrics all                 every card
  nucleist metrics all --markdown      the same as Markdown, as in docs/metrics.md
"""


def main(arguments: Sequence[str]) -> int:
    """Entry point of the verb."""
    if wants_help(arguments):
        print(HELP, end="")
        return 0
    words = read("metrics", arguments, ("--markdown",))
    words.nothing_left({})
    words.no_place()
    from nucleist.metrics.card_page import markdown, metric_cards, rows_of

    chosen = metric_cards([] if words.what == ["all"] else words.what)
    if "--markdown" in words.flags:
        print(markdown(chosen), end="")
        return 0
    from rich.console import Console

    console = Console(highlight=False)
    if not words.what:
        console.print(_overview(chosen))
        print(
            "\nnucleist metrics NAME prints the card of a metric, nucleist metrics all all cards."
        )
        return 0
    for card in chosen:
        console.print(_printed(card, rows_of(card)))
    return 0


def _overview(cards: Sequence[Any]) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("metric", ratio=2)
    table.add_column("what it is", ratio=3)
    for card in cards:
        table.add_row(Text(", ".join(card.names)), Text(card.title))
    return table


def _printed(card: Any, rows: dict[str, str]) -> Any:
    """A card as rows of a table without lines."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(", ".join(card.names), "bold"),
        title_justify="left",
        box=box.HORIZONTALS,
        show_header=False,
    )
    table.add_column(no_wrap=True)
    table.add_column()
    for name, value in rows.items():
        table.add_row(Text(name, "dim"), Text(value))
    return table
