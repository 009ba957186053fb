"""`nucleist VERB ...`: run the verb, and print one line for an error of the user."""

import importlib
import os
import sys
from collections.abc import Sequence

from nucleist import __version__
from nucleist.types import UserError

VERBS = {
    "train": "train a net: nucleist train my_images steps=600",
    "predict": "outline nuclei: nucleist predict MODEL IMAGES -o FOLDER",
    "import": "take corrected outlines back: nucleist import FOLDER from=imagej -o SET",
    "evaluate": "score a model, or label images of any tool: nucleist evaluate MODEL",
    "annotate": "outline nuclei in the browser, with a net that learns: nucleist annotate FOLDER",
    "bootstrap": "the same without a page: nucleist bootstrap FOLDER -o CORRECTIONS",
    "figures": "draw what a net sees: nucleist figures MODEL IMAGES -o FOLDER",
    "export": "a model as one file: nucleist export MODEL -o FILE",
    "models": "the models that come with the package, and how good they are",
    "report": "tables and curves of runs: nucleist report runs -o report",
    "reproduce": "train a run again and compare: nucleist reproduce RUN",
    "data": "list, show, check, prepare, download data sets",
    "metrics": "what the scores mean: nucleist metrics map",
    "demo": "partial annotation on drawn nuclei, in a few minutes",
}

MODULES = {"import": "corrections"}
"""Where a verb is whose name is a word of Python."""

USAGE = """usage: nucleist VERB [WHAT ...] [key=value ...] [-o PLACE]

{verbs}

What you point at comes first, settings are key=value, -o PLACE is where the results go.
MODEL is a run folder, a checkpoint or exported file, or nuclei. nucleist VERB --help explains
the verb.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status.

    0 done, 1 done but something differs or a run failed, 2 bad input, 3 done but for some images,
    130 interrupted.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = _run(arguments)
        sys.stdout.flush()  # here, where a reader that has ended is no error
        return status
    except UserError as error:
        if os.environ.get("NUCLEIST_TRACEBACK"):
            raise
        print(f"nucleist: {error}", file=sys.stderr)
        return error.status
    except BrokenPipeError:  # the reader has ended, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still buffered is written there
        return 1
    except OSError as error:  # from the system, not handled anywhere else
        if os.environ.get("NUCLEIST_TRACEBACK"):
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"nucleist: {where}{error.strerror or error}; check file and disk", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("nucleist: interrupted", file=sys.stderr)
        return 130


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        lines = "\n".join(f"  {verb:<10}{words}" for verb, words in VERBS.items())
        print(USAGE.format(verbs=lines), end="")
        return 0
    if arguments[0] in ("-V", "--version"):
        print(f"nucleist {__version__}")
        return 0
    if arguments[0] not in VERBS:
        raise UserError(f"there is no verb {arguments[0]!r}; use one of {', '.join(VERBS)}")
    module = MODULES.get(arguments[0], arguments[0])
    verb = importlib.import_module(f"nucleist.cli.{module}")
    return int(verb.main(arguments[1:]) or 0)


if __name__ == "__main__":
    sys.exit(main())
