"""`nucleist reproduce`: train a run again from its folder and compare what came out."""

from collections.abc import Sequence

from nucleist.cli.words import names, number, read, wants_help

HELP = """usage: nucleist reproduce RUN [-o RUNS] [key=value ...]

  nucleist reproduce runs/NAME/ID

Trains again what a run folder describes, in a new folder beside it (or below -o RUNS), and compares
kept labels, weights and every score. The labels are those of the run's manifest.json, and on the
CPU there are as many threads as then, so that with the same versions everything repeats exactly.
Data are looked for in NUCLEIST_DATA, else where they were.

  tolerance=X      difference allowed in each score (default 0)
  trust=PACKAGE    build nets of this package of yours

Exit status: 0 all equal (within the tolerance), 1 not, 2 the run is unusable.
"""

SETTINGS = {"tolerance": number, "trust": names}


def main(arguments: Sequence[str]) -> int:
    """Entry point of the verb; returns 1 if something differs."""
    if wants_help(arguments):
        print(HELP, end="")
        return 0
    words = read("reproduce", arguments)
    settings = words.take(**SETTINGS)
    words.nothing_left(SETTINGS)
    run = words.one("run folder")
    import nucleist
    from nucleist.progress import Console

    found = nucleist.reproduce(run, runs=words.output, progress=Console(), **settings)
    for line in found.remarks:
        print(line)
    print("\n".join(found.differences) or "kept labels and scores are equal")
    print(f"weights: {found.weights}")
    print(found.run)
    return 0 if found.is_equal else 1
