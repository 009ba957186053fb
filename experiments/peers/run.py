"""Train, calibrate and score the peers that have no result yet, one after the other.

    NUCLEIST_DATA=FOLDER .venv/bin/python -m experiments.peers.run [--only TEXT] [--list]

The peers run in `.venv-peers` (README.md); images and label images are exchanged as files. A cell
that was cut goes on with the step that was not finished; a training begins anew.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple, TextIO

from experiments.peers.export import main as export
from experiments.peers.peer import THREADS
from experiments.peers.score import best_setting, scored
from experiments.protocol.measure import compact
from nucleist.files import make_folder, read_json_if_there, write_text
from nucleist.training.run import environment

HERE = Path(__file__).parent
RUNS = Path("runs") / "peers"
PYTHON = Path(".venv-peers") / "bin" / "python"
LABELS = ("10_of_5", "100", "3_of_5", "25")
ARMS = {
    "cellpose": ("cellpose_peer", []),
    "stardist": ("stardist_peer", []),
    "stardist_ignore": ("stardist_peer", ["--ignore"]),
}
"""Module and further words of each peer."""


class Cell(NamedTuple):
    """One training of a peer.

    Attributes:
        peer: Of `ARMS`.
        labels: Of the cells of few labels.
        minutes: CPU minutes of the training.
    """

    peer: str
    labels: str
    minutes: float

    @property
    def name(self) -> str:
        """Such as `10_of_5-cellpose-9min`."""
        return f"{self.labels}-{self.peer}-{self.minutes:g}min"


def cells(minutes: float) -> list[Cell]:
    """All cells; where everything is labelled nothing is to be ignored."""
    return [
        Cell(peer, labels, minutes)
        for labels in LABELS
        for peer in ARMS
        if labels != "100" or peer != "stardist_ignore"
    ]


def call(log: TextIO, module: str, *words: str) -> None:
    """Run a command of a peer in its own environment, with one thread."""
    subprocess.run(
        [str(PYTHON), "-m", f"experiments.peers.{module}", *words],
        env={**os.environ, **dict.fromkeys(THREADS, "1")},
        stdout=log,
        stderr=log,
        check=True,
    )


def run_cell(cell: Cell, result: Path) -> None:
    """Export, train, choose the setting on validation images, test."""
    folder, out = RUNS / cell.labels, make_folder(RUNS / cell.name)
    if not (folder / "about.json").exists():
        export(cell.labels, str(folder))
    module, more = ARMS[cell.peer]
    places = (str(folder), str(out))
    with (out / "log.txt").open("a") as log:
        if not (out / "train.json").exists():
            call(log, module, "train", *places, "--minutes", str(cell.minutes), *more)
        if not (out / "grid.json").exists():
            call(log, module, "grid", *places)
        call(log, module, "predict", *places, "--setting", best_setting(folder, out))
    about = {"cell": cell._asdict(), "commit": environment()["git"], **scored(folder, out)}
    write_text(result, compact(about))
    print(f"{cell.name}: {about['summary']}", flush=True)


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--minutes", type=float, default=9.0, help="CPU minutes of a training")
    words.add_argument("--results", type=Path, default=HERE / "results")
    words.add_argument("--only", default="", help="a part of the names of the cells to run")
    words.add_argument("--list", action="store_true", help="print the cells, start nothing")
    given = words.parse_args()
    failed = 0
    for cell in (one for one in cells(given.minutes) if given.only in one.name):
        result = given.results / f"{cell.name}.json"
        if given.list:
            print(f"{cell.name}: {read_json_if_there(result).get('summary', 'to do')}")
        elif not result.exists():
            try:
                run_cell(cell, result)
            except subprocess.CalledProcessError:
                print(f"{cell.name}: failed, see {RUNS / cell.name / 'log.txt'}", flush=True)
                failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
