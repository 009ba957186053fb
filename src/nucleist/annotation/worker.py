"""The process of one round: train on what is labelled, then propose nuclei on every image.

    python -m nucleist.annotation.worker ROUND

ROUND is a folder with `job.json`. The process leaves `status.json`, the run folder and a file of
proposals for each image there. It reads the images' folder and writes nothing into it, so it runs
beside the page, and outlives it.
"""

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nucleist.annotation.taken import traced
from nucleist.config.settings import overrides_of, quoted
from nucleist.data.formats.channels import Choice
from nucleist.data.formats.images import read_image
from nucleist.files import holding, read_json, read_json_if_there, write_json
from nucleist.inference.load import Model, load
from nucleist.training.train import train
from nucleist.types import Progress, UserError

STATUS, JOB, PROPOSALS = "status.json", "job.json", "proposals"

FAINT = 0.1
"""Detections with a lower score are not proposed; the page's slider begins here."""


class Status:
    """What a round has come to, in a file that the page reads.

    Args:
        folder: Of the round.
    """

    def __init__(self, folder: Path):
        self._path = folder / STATUS
        self.tell(pid=os.getpid(), started=time.time())

    def tell(self, **what: Any) -> None:
        """Change some of it; the training changes other parts."""
        write_json(self._path, {**read_json_if_there(self._path), **what})


class Words(Progress):
    """The lines of a training, as those of the round."""

    def __init__(self, status: Status):
        self._status = status

    def note(self, line: str) -> None:
        """Keep the line."""
        print(line, flush=True)
        self._status.tell(line=line)

    def warn(self, line: str) -> None:
        """Keep the line."""
        self.note(f"warning: {line}")


def run(folder: Path) -> None:
    """Do the round of a folder.

    Raises:
        UserError: If the labels, a setting or an image are not what they should be.
    """
    job = read_json(folder / JOB, "start the round again")
    status = Status(folder)
    status.tell(phase="training", step=0, steps=0)
    with holding(folder):
        found = job.get("model") or train(
            job["images"],
            overrides=[*settings(folder, job), *job["overrides"], *start(job)],
            progress=Words(status),
        )
        model = load(found)
        status.tell(phase="proposing", run=str(found), seconds_left=None)
        for number, image in enumerate(job["pairs"]):
            status.tell(step=number, steps=len(job["pairs"]))
            path = Path(job["images"]) / image
            pixels = read_image(path.read_bytes(), str(path), Choice(job["channel"], job["z"]))
            propose(model, pixels, folder / PROPOSALS / f"{number}.json")
        status.tell(phase="done", step=len(job["pairs"]), threshold=model.threshold)


def settings(folder: Path, job: Mapping[str, Any]) -> list[str]:
    """What a round sets for its training, before the settings of the person."""
    return [
        f"runs={quoted(str(folder / 'runs'))}",
        "name=round",
        "data.source.test_fraction=0",
        "data.validation=nuclei",
        *overrides_of({"data": {"source": {"channel": job["channel"], "z": job["z"]}}}),
        "+callbacks.report._target_=nucleist.annotation.reporting.StepReport",
        f"+callbacks.report.folder={quoted(str(folder))}",
    ]


def start(job: Mapping[str, Any]) -> list[str]:
    """The last round's weights go before the person's, which are for the first round."""
    return [] if job["weights"] is None else [f"weights={quoted(job['weights'])}"]


def propose(model: Model, image: np.ndarray, path: Path) -> None:
    """Write the nuclei that a model finds as outlines.

    Args:
        model: Trained.
        image: `(H, W, 3)`, as stored.
        path: The file: `found`, each with `anchors` and `score`.
    """
    result = model.predict(image, min(FAINT, model.threshold))
    found = [
        {"anchors": anchors, "score": round(float(result.scores[number - 1]), 4)}
        for number, anchors in traced(result.labels).items()
    ]
    path.parent.mkdir(exist_ok=True)
    write_json(path, {"found": found})


def main(arguments: list[str]) -> int:
    """Entry point; an error of the user is left in the status."""
    folder = Path(arguments[0])
    try:
        run(folder)
    except Exception as error:
        words = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        Status(folder).tell(phase="failed", error=words)
        if not isinstance(error, UserError):
            raise
        return error.status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
