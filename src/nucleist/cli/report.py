"""`nucleist report`: one page of tables, curves and pictures from finished runs."""

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from nucleist.cli.parser import Parser
from nucleist.report import write_report
from nucleist.report.find import find_runs
from nucleist.report.grouping import group
from nucleist.report.speeds import MEASURED
from nucleist.types import UserError

EXAMPLES = """examples:
  nucleist report runs -o report
  nucleist report runs/bbbc360_25_pa runs/bbbc360_25_baseline -o report --title "A quarter"
  nucleist report runs -o report --measure         # Table 2 measured side by side

Runs that differ in their seed alone are one model. The folder holds report.html (opens from disk,
everything inside), report.md, runs.csv, tables/*.csv and figures/. Runs that are not finished are
told and left out.

--measure builds the net of each model again from one of its runs (config.yaml, last checkpoint,
the run's own data) and times training steps and test images, each model in a process of its own,
one after the other: about half a minute for a model and round, on a quiet machine. The figures are
kept in speed.json in the report's folder. Later reports there use them; delete it to measure anew.
Without it Table 2 has what each run noted while it ran.
"""


def main(arguments: Sequence[str]) -> int:
    """Entry point of the verb."""
    parser = Parser(
        "nucleist report",
        description="Tables and curves of finished runs in the layout of the papers.",
        epilog=EXAMPLES,
    )
    parser.add_argument("runs", nargs="+", help="run folders, or folders that hold some")
    parser.add_argument("-o", "--output", required=True, type=Path, help="folder for the report")
    parser.add_argument("--title", default="nucleist report", help="head line")
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="EXPERIMENT=WORDS",
        help="words for the name of an experiment; may be given again",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier report")
    _add_measuring(parser)
    options = parser.parse_args(arguments)
    done = options.output / "report.html"
    if done.exists() and not options.overwrite:
        raise UserError(f"{done}: is there already; choose another -o, or add --overwrite")
    titles = dict(_name(text) for text in options.name)
    if options.measure:
        _measure(options, titles, shlex.join(["nucleist", "report", *arguments]))
    notes = write_report(options.runs, options.output, title=options.title, titles=titles)
    for note in notes:
        print(note, file=sys.stderr)
    print(done)
    return 0


def _add_measuring(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("measuring size and speed (Table 2)")
    group.add_argument("--measure", action="store_true", help="measure all models in turn")
    for name, number, what in (
        ("steps", 5, "training steps that are timed, after one that is not"),
        ("images", 5, "test images that are timed, after one that is not"),
        ("rounds", 2, "times that all models are measured, in the same order"),
    ):
        words = f"{what} (default {number})"
        group.add_argument(f"--{name}", type=int, default=number, metavar="N", help=words)
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")


def _measure(options: argparse.Namespace, titles: Mapping[str, str], command: str) -> None:
    """Write `speed.json` into the report's folder."""
    from nucleist.report.measure import Amount, measure

    for name in ("steps", "images", "rounds"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name} {getattr(options, name)}: write a number from 1")
    runs, _ = find_runs([Path(run) for run in options.runs])
    models = [model for data in group(runs, titles)[0] for model in data.models]
    amount = Amount(options.steps, options.images, options.rounds, options.device)
    measure(models, options.output / MEASURED, amount, command)


def _name(text: str) -> tuple[str, str]:
    experiment, equals, words = text.partition("=")
    if not equals or not words:
        raise UserError(f"--name {text}: write EXPERIMENT=WORDS")
    return experiment, words
