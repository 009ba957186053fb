"""`nucleist report`: one page of tables, curves and pictures from finished runs."""

from collections.abc import Sequence

from nucleist.cli.words import count, read, switch, text, wants_help

HELP = """usage: nucleist report RUNS... -o FOLDER [key=value ...]

  nucleist report runs -o report
  nucleist report runs/bbbc360_25_pa runs/bbbc360_25_baseline -o report title="A quarter"
  nucleist report runs -o report measure=true         Table 2 measured side by side

RUNS are run folders, or folders that hold some. Runs that differ in their seed alone are one model.
The folder holds report.html (opens from disk, everything inside), report.md, runs.csv,
tables/*.csv and figures/. Runs that are not finished are named and left out.

  title=WORDS             head line
  name.EXPERIMENT=WORDS   words in place of the name of an experiment
  overwrite=true          replace an earlier report
  measure=true            measure size and speed of all models in turn (Table 2), with
    steps=5 images=5 rounds=2 device=auto

Measuring builds the net of each model again from one of its runs (config.yaml, last checkpoint,
the run's own data) and times training steps and test images, each model in a process of its own,
one after the other: about half a minute for a model and round, on a quiet machine. The figures are
kept in speed.json in the report's folder. Later reports there use them; delete it to measure anew.
Without it Table 2 has what each run recorded while it ran.
"""

AMOUNT = {"steps": count, "images": count, "rounds": count, "device": text}
SETTINGS = {"title": text, "overwrite": switch, "measure": switch, **AMOUNT}


def main(arguments: Sequence[str]) -> int:
    """Entry point of the verb."""
    if wants_help(arguments):
        print(HELP, end="")
        return 0
    words = read("report", arguments)
    names = dict(word.partition("=")[::2] for word in words.take_under("name."))
    settings = words.take(**SETTINGS)
    words.nothing_left({**SETTINGS, "name.EXPERIMENT": text})
    runs, output = words.some("RUNS"), words.place()
    amount = {key: settings.pop(key) for key in AMOUNT if key in settings}
    measure = settings.pop("measure", False)
    if amount and not measure:
        words.refuse(f"uses {next(iter(amount))}= only with measure=true; add it, or leave it out")
    import nucleist
    from nucleist.progress import Console
    from nucleist.report.speed_table import Amount

    settings["measure"] = Amount(**amount) if measure else None
    print(nucleist.write_report(runs, output, names=names, progress=Console(), **settings))
    return 0
