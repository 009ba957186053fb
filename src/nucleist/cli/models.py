"""`nucleist models`: the models that come with the package."""

from collections.abc import Sequence

from nucleist.cli.words import read, wants_help

HELP = """usage: nucleist models [NAME]

  nucleist models            the model cards
  nucleist models nuclei     one of them

A card says what the model was trained on, how good it is on images that it did not see, and what it
cannot do. `nucleist predict nuclei IMAGES -o OUT` outlines with it, `weights=nuclei` trains on.
"""


def main(arguments: Sequence[str]) -> None:
    """Entry point of the verb."""
    if wants_help(arguments):
        print(HELP, end="")
        return
    words = read("models", arguments)
    words.nothing_left({})
    words.no_place()
    from nucleist.models.weights.shipped import card, hashes

    names = [words.one("NAME")] if words.what else list(hashes())
    print("\n".join(card(name).rstrip() for name in names))
