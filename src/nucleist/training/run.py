"""The folder of a run: its unique name, and the record of versions and images in it."""

import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from nucleist.files import checksum
from nucleist.types import Record, UserError

PACKAGES = ("nucleist", "torch", "torchvision", "pytorch-lightning", "albumentations", "numpy")


def new_run_folder(runs: str | Path, name: str, mark: str) -> Path:
    """Make `runs/<name>/<time>-<mark>-<process>`; of two runs in one second each gets its own.

    Args:
        runs: Folder of all runs.
        name: Name of the run.
        mark: Hash of its configuration.

    Raises:
        UserError: If it cannot be made.
    """
    time = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    stem = f"{time}-{mark}-{os.getpid()}"
    for attempt in range(1000):
        folder = Path(runs) / name / (f"{stem}-{attempt}" if attempt else stem)
        try:
            folder.mkdir(parents=True, exist_ok=False)
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(
                f"{folder}: cannot make the run folder ({error.strerror}); set runs=FOLDER"
            ) from error
        return folder
    raise UserError(f"{Path(runs) / name}: no free run folder; set runs=FOLDER")


def find_run(runs: str | Path, name: str, mark: str) -> Path | None:
    """The run of a configuration: a finished one if there is any, else the last one begun.

    Raises:
        UserError: If the folder of all runs cannot be read.
    """
    try:
        found = sorted(path for path in (Path(runs) / name).glob(f"*-{mark}-*") if path.is_dir())
    except OSError as error:
        raise UserError(f"{runs}: cannot read ({error.strerror}); set runs=FOLDER") from error
    chosen = [path for path in found if is_finished(path)] or found
    return chosen[-1] if chosen else None


def is_finished(run: Path) -> bool:
    """Whether a run has come to its end: the summary is what it writes last."""
    return (run / "summary.json").is_file()


def images_checksum(records: Iterable[Record]) -> str:
    """`checksum` of images and all their labels, as a source reads them."""
    return checksum((record.id, (record.image, record.labels)) for record in records)


def environment(command: str = "", images: Iterable[Record] | None = None) -> dict[str, str | None]:
    """Versions, machine, folders, command and git commit, for the record.

    Args:
        command: The command, or what does the same as the call.
        images: The training images; None leaves out their checksum.

    Returns:
        Text by name; `folder` is where the command ran, `data_root` the folder of the data sets
        unless the configuration names another, both whole paths.
    """
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    found["platform"] = platform.platform()
    found["threads"] = str(torch.get_num_threads())  # sums of floats depend on it
    found["gpu"] = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    found["folder"] = os.getcwd()
    found["data_root"] = os.path.abspath(os.environ.get("NUCLEIST_DATA", "data"))
    if images is not None:
        found["images"] = images_checksum(images)
    found["command"] = command
    found["git"] = _git("rev-parse", "HEAD")
    if found["git"] and _git("status", "--porcelain", "--untracked-files=no"):
        found["git"] += " with uncommitted changes"
    return found


def _git(*arguments: str) -> str | None:
    here = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=here, capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
