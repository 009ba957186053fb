"""`karyon report`: one page of tables, curves and pictures from finished runs."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from karyon.report import write_report
from karyon.types import UserError

EXAMPLES = """examples:
  karyon report runs -o report
  karyon report runs/bbbc360_25_pa runs/bbbc360_25_baseline -o report --title "A quarter"

Runs that differ in their seed alone are one model. The folder holds report.html (opens from disk,
everything inside), report.md, runs.csv, tables/*.csv and figures/. Runs that are not finished are
told and left out.
"""


def main(arguments: Sequence[str]) -> int:
    """Entry point of the verb."""
    parser = argparse.ArgumentParser(
        "karyon report",
        description="Tables and curves of finished runs in the layout of the papers.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="+", help="run folders, or folders that hold some")
    parser.add_argument("-o", "--output", required=True, type=Path, help="folder for the report")
    parser.add_argument("--title", default="karyon report", help="head line")
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="EXPERIMENT=WORDS",
        help="words for the name of an experiment; may be given again",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier report")
    options = parser.parse_args(arguments)
    done = options.output / "report.html"
    if done.exists() and not options.overwrite:
        raise UserError(f"{done}: is there already; choose another -o, or add --overwrite")
    titles = dict(_name(text) for text in options.name)
    notes = write_report(options.runs, options.output, title=options.title, titles=titles)
    for note in notes:
        print(note, file=sys.stderr)
    print(done)
    return 0


def _name(text: str) -> tuple[str, str]:
    experiment, equals, words = text.partition("=")
    if not equals or not words:
        raise UserError(f"--name {text}: write EXPERIMENT=WORDS")
    return experiment, words
