"""`nucleist VERB ...`: find the verb, run it, and turn what a user did wrong into one line."""

import importlib
import os
import sys
from collections.abc import Sequence

from nucleist import __version__
from nucleist.types import UserError

VERBS = {
    "train": (
        "nucleist.training.train",
        "train a net: nucleist train experiment=bbbc360_25_pa seed=1",
    ),
    "evaluate": ("nucleist.evaluation.model", "score a checkpoint, or label images of any tool"),
    "metrics": ("nucleist.cli.metrics", "what the numbers mean: nucleist metrics map"),
    "predict": (
        "nucleist.inference.predict",
        "outline nuclei: nucleist predict FILE IMAGES -o DIR",
    ),
    "report": ("nucleist.cli.report", "tables and curves of runs: nucleist report runs -o report"),
    "figures": ("nucleist.cli.figures", "what a net sees: nucleist figures FILE IMAGES -o DIR"),
    "reproduce": (
        "nucleist.training.reproduce",
        "train a run folder again: nucleist reproduce RUN",
    ),
    "data": ("nucleist.cli.data", "list, show, check, prepare, download data sets"),
    "demo": ("nucleist.cli.demo", "the whole story on drawn nuclei, in a few minutes"),
}

USAGE = "usage: nucleist VERB [...]\n\n" + "\n".join(
    f"  {verb:<10}{text}" for verb, (_, text) in VERBS.items()
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status: 0 done, 2 bad input, 130 interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE + "\n\nnucleist VERB --help tells more.")
        return 0
    if arguments[0] in ("-V", "--version"):
        print(f"nucleist {__version__}")
        return 0
    try:
        if arguments[0] not in VERBS:
            raise UserError(f"there is no verb {arguments[0]!r}; use one of {', '.join(VERBS)}")
        return int(importlib.import_module(VERBS[arguments[0]][0]).main(arguments[1:]) or 0)
    except UserError as error:
        if os.environ.get("NUCLEIST_TRACEBACK"):
            raise
        print(f"nucleist: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # nobody reads on, as after `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # where what is left goes at the end
        return 1
    except OSError as error:  # that no part of nucleist expected
        if os.environ.get("NUCLEIST_TRACEBACK"):
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"nucleist: {where}{error.strerror or error}; check file and disk", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("nucleist: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
