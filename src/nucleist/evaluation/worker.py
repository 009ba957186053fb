"""An evaluation in several processes, one a device of this machine."""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from nucleist.distributed.launch import run_on_devices
from nucleist.distributed.place import is_first
from nucleist.distributed.worker import work
from nucleist.evaluation.scores import Evaluation
from nucleist.files import read_json, write_json
from nucleist.progress import Console
from nucleist.training.task import ScoresAt, TestScores
from nucleist.training.worker import processes_of
from nucleist.types import Progress


def evaluate_on_devices(config: DictConfig, job: dict[str, Any], progress: Progress) -> Evaluation:
    """Evaluate in as many processes as the trainer has devices.

    Args:
        config: The composed `conf/evaluate.yaml`.
        job: Arguments of `evaluate_model`, without `progress`, in plain types.
        progress: Gets the lines that rank 0 shows.

    Raises:
        UserError: As raised by the evaluation.
        ProcessLostError: If a process was lost; see `run_on_devices`.
    """
    with tempfile.TemporaryDirectory(prefix="nucleist-") as folder:
        file, result = Path(folder, "job.json"), Path(folder, "result.json")
        write_json(file, job)
        module = "nucleist.evaluation.worker"
        run_on_devices(module, [str(file), str(result)], processes_of(config), progress)
        found = read_json(result, "run it again")
    curve = found.pop("curve")
    fixed, calibrated, *points = (
        ScoresAt(**at) for at in (curve["fixed"], curve["calibrated"], *curve["curve"])
    )
    scores = TestScores(fixed, calibrated, tuple(points), curve["images"])
    found["checkpoint"] = Path(found["checkpoint"])
    return Evaluation(**{**found, "curve": scores})


def main(arguments: Sequence[str]) -> int:
    """Evaluate as one of the processes.

    Args:
        arguments: The file that describes the job, and the file for the result.

    Returns:
        The exit status.
    """
    from nucleist.evaluation.model import evaluate_model

    file, result = arguments

    def evaluate() -> str:
        found = evaluate_model(**read_json(file, ""), progress=Console())
        if is_first():
            write_json(result, {**asdict(found), "checkpoint": str(found.checkpoint)})
        return ""

    return work(evaluate)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
