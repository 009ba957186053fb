"""`nucleist train`: one training, many, or a search for settings."""

import shlex
import sys
from collections.abc import Sequence
from typing import Any

from nucleist.cli.words import Words, read, wants_help

HELP = """usage: nucleist train [WHAT] [group=choice ...] [key=value ...] [-o RUNS]

WHAT is a folder of images and labels, or the name of an experiment or of a data set.

  nucleist train my_images steps=600
  nucleist train bbbc360_25_pa seed=1
  nucleist train kumar data.annotation_fraction=0.1 model=mask_rcnn_pa steps=600 val_every=100
  nucleist train bbbc360_25_pa --cfg               print the composed configuration only
  nucleist train bbbc360_25_pa resume=auto         go on where this run was cut
  nucleist train -m --help                         many runs: lists of values, sweeps
  nucleist train search=pa --help                  a search for good settings with Optuna

-o RUNS (or runs=RUNS) is the folder for all runs; the run folder is printed at the end. -v prints
technical lines too: which weights were filled.
A net (nucleist.Net) or reader (nucleist.Source) of your own package, with its arguments:
  nucleist train my_images 'model={_target_: mypackage.net, width: 8}' trust=mypackage
groups: data, model, preset, optim, augment, normalize, trainer, callbacks, logger, experiment
"""

HELP_MANY = """usage: nucleist train -m [WHAT] [sweep=NAME] [jobs=N] [launcher=NAME] [key=value,...]

  nucleist train -m bbbc360_pa data.annotation_fraction=0.05,0.1 seed=0,1
  nucleist train -m bbbc360_pa 'seed=range(5)' jobs=2
  nucleist train -m sweep=annotation_fraction 'experiment=glob(bbbc360_*baseline)' seed=0,1 --plan
  nucleist train -m sweep=ablation bbbc360_25_pa seed=0,1,2

Every combination of the listed values is a run, a process of its own. The same command goes on
with a sweep that was interrupted: finished runs are kept, half-finished ones go on from their last
checkpoint, failed ones are tried again.

  --plan         list the runs with estimated time and size, start nothing
  sweep=NAME     annotation_fraction, seeds, ablation
  search=NAME    instead: settings chosen by Optuna, see nucleist train search=pa --help
  jobs=N         runs at a time; default: one a GPU, else one
  launcher=NAME  local, submitit (jobs of a SLURM cluster)
  folder=DIR     default: runs/sweeps/NAME-HASH
"""

HELP_SEARCH = """usage: nucleist train [WHAT] search=NAME [jobs=N] [launcher=NAME] [key=value ...]

  nucleist train bbbc360_25_pa search=pa jobs=2
  nucleist train bbbc360_25_pa search=pa --plan              the space, time and size
  nucleist train bbbc360_25_pa search=pa search.trials=50    goes on with more trials
  nucleist train search=optim 'optim.optimizer.lr=tag(log,interval(0.001,0.01))' model=mask_rcnn

Each trial is a run, a process of its own; Optuna chooses its settings (pip install
'nucleist[search]'). The same command goes on with a search that was interrupted until enough
trials have finished: half-finished ones go on from their last checkpoint, failed ones are
replaced. The last validation decides, so validate on images that are not the test images
(data.splits.val). Its mAP counts, or where not every nucleus is labelled, its labelled_score.

A key given as interval(a,b), int(interval(a,b)), tag(log,interval(a,b)), range(a,b,step) or
choice(x,y) is searched, a key given as one value is fixed, ~key takes it out of the space.

  search=NAME       pa, optim; search.trials=N, search.metric=NAME, search.seed=N: conf/search
  --plan            print the space with estimated time and size, start nothing
  jobs=N, launcher=NAME, folder=DIR     as in nucleist train -m --help

Leaves study.db (Optuna's), trials.csv and the run folders; prints the command of the best trial.
"""

FLAGS = ("--cfg", "--plan", "-m", "--multirun", "-v", "--verbose")


def main(arguments: Sequence[str]) -> int:
    """Entry point of the verb; returns 1 if a run of a sweep failed."""
    many = any(a in ("-m", "--multirun", "--plan") or a.startswith("sweep=") for a in arguments)
    searched = any(a.startswith("search=") for a in arguments)
    if wants_help(arguments):
        print(HELP_SEARCH if searched else HELP_MANY if many else HELP, end="")
        return 0
    words = read("train", arguments, FLAGS)
    if len(words.what) > 1:
        words.refuse(f"names {len(words.what)} things ({', '.join(words.what)}); give one")
    if words.output is not None:
        from nucleist.config.settings import quoted

        words.settings.append(f"runs={quoted(words.output)}")
    command = shlex.join(["nucleist", "train", *arguments])
    return _many(words, command, searched) if many or searched else _train(words)


def _what(words: Words) -> str | None:
    return words.what[0] if words.what else None


def _train(words: Words) -> int:
    if "--cfg" in words.flags:
        from nucleist.config.compose import written_out
        from nucleist.config.settings import what_to_train

        print(written_out("train", [*what_to_train(_what(words)), *words.settings]), end="")
        return 0
    import nucleist
    from nucleist.distributed.place import is_first
    from nucleist.progress import Console

    progress = Console(verbose=bool(words.flags & {"-v", "--verbose"}))
    run = nucleist.train(_what(words), overrides=words.settings, progress=progress)
    if is_first():
        from nucleist.training.closing import closing_words

        for line in closing_words(run):
            progress.note(line)
        print(run)
    return 0


def _many(words: Words, command: str, searched: bool) -> int:
    """A sweep or a search."""
    import nucleist
    from nucleist.progress import Console

    if "--cfg" in words.flags:
        words.refuse("has no --cfg for many runs; use --plan, which lists them")
    given: dict[str, Any] = {"overrides": words.settings, "command": command}
    make = nucleist.plan_search if searched else nucleist.plan_sweep
    plan: Any = make(_what(words), **given)
    if "--plan" in words.flags:
        print(plan.describe())
        return 0
    if searched:
        found = nucleist.run_search(plan, progress=Console())
        sys.stderr.flush()
        print(found.command)
        print(found.folder)
        return 0
    sweep = nucleist.run_sweep(plan, progress=Console())
    print(sweep.folder)
    return 1 if sweep.count("failed") else 0
