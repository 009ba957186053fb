"""`nucleist bootstrap`: from a few outlines to a full annotation, without a page."""

import sys
from collections.abc import Sequence
from pathlib import Path

from nucleist.cli.predict import number_or_word
from nucleist.cli.words import count, read, share, switch, wants_help

HELP = """usage: nucleist bootstrap FOLDER -o CORRECTIONS [key=value ...]

  nucleist bootstrap my_images -o corrections
  nucleist bootstrap my_images -o corrections rounds=3 accept=0.9 steps=300

Trains on the nuclei that are outlined in FOLDER, proposes more on all its images, and writes them
for correction: CORRECTIONS/NAME.zip for the ROI manager of Fiji, and NAME.nucleist.geojson beside
the image for QuPath. Correct some, save them under the same name, and give the command again: it
imports them first. What is left in a zip is right; in QuPath the class Nucleus is right, Proposal
undecided. nucleist annotate FOLDER goes on from there, and the other way round.

  rounds=1        trainings in this call; between two of them it waits, if somebody is there
  accept=X        proposals of at least this score are accepted between two rounds
  least=0.5       lowest score of a proposal that is exported
  coverage=1      stop where this share of the nuclei is decided, and
  score=1         this share of the held-out outlines is found
  anew=true       do not begin with the weights of the last round
  channel=N, z=N  as in nucleist predict
  steps=600, ...  settings of nucleist train
"""


def main(arguments: Sequence[str]) -> int:
    """Entry point of the verb."""
    if wants_help(arguments):
        print(HELP, end="")
        return 0
    words = read("bootstrap", arguments)
    own = words.take(
        rounds=count, accept=share, least=share, coverage=share, score=share, anew=switch,
        channel=number_or_word, z=number_or_word,
    )  # fmt: skip
    folder, place = words.one("folder"), words.place()
    import nucleist
    from nucleist.progress import Console

    wait = _wait if sys.stdin.isatty() and sys.stderr.isatty() else None
    found = nucleist.bootstrap(
        folder, place, wait=wait, overrides=words.settings, progress=Console(), **own
    )
    print(f"{found.labelled} labelled, {found.proposed} proposed after round {found.rounds}")
    print(found.output)
    return 0


def _wait(place: Path) -> bool:
    """Wait until a person has corrected the exports; False ends the loop."""
    print(f"correct files in {place}, then press Enter; q ends: ", end="", file=sys.stderr)
    sys.stderr.flush()
    return not sys.stdin.readline().strip().lower().startswith("q")
