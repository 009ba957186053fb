"""`karyon VERB ...`: find the verb, run it, and turn what a user did wrong into one line."""

import importlib
import os
import sys
from collections.abc import Sequence

from karyon import __version__
from karyon.types import UserError

VERBS = {
    "train": ("karyon.cli.train", "train a net: karyon train experiment=bbbc360_25_pa seed=1"),
    "evaluate": ("karyon.cli.evaluate", "score a checkpoint, or label images of any tool"),
    "metrics": ("karyon.cli.metrics", "what the numbers mean: karyon metrics map"),
    "predict": ("karyon.cli.predict", "outline nuclei: karyon predict FILE IMAGES -o DIR"),
    "report": ("karyon.cli.report", "tables and curves of runs: karyon report runs -o report"),
    "figures": ("karyon.cli.figures", "what a net sees: karyon figures FILE IMAGES -o DIR"),
    "reproduce": ("karyon.cli.reproduce", "train a run folder again: karyon reproduce RUN"),
    "data": ("karyon.cli.data", "list, show, check, prepare, download data sets"),
    "demo": ("karyon.cli.demo", "the whole story on drawn nuclei, in a few minutes"),
}

USAGE = "usage: karyon VERB [...]\n\n" + "\n".join(
    f"  {verb:<10}{text}" for verb, (_, text) in VERBS.items()
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status: 0 done, 2 bad input, 130 interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE + "\n\nkaryon VERB --help tells more.")
        return 0
    if arguments[0] in ("-V", "--version"):
        print(f"karyon {__version__}")
        return 0
    try:
        if arguments[0] not in VERBS:
            raise UserError(f"there is no verb {arguments[0]!r}; use one of {', '.join(VERBS)}")
        return int(importlib.import_module(VERBS[arguments[0]][0]).main(arguments[1:]) or 0)
    except UserError as error:
        if os.environ.get("KARYON_TRACEBACK"):
            raise
        print(f"karyon: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # nobody reads on, as after `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # where what is left goes at the end
        return 1
    except OSError as error:  # that no part of karyon expected
        if os.environ.get("KARYON_TRACEBACK"):
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"karyon: {where}{error.strerror or error}; check file and disk", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("karyon: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
