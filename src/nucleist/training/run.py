"""The folder of a run: a name that cannot collide, and what is written into it."""

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nucleist.files import replacing
from nucleist.types import Record, UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PACKAGES = ("nucleist", "torch", "torchvision", "pytorch-lightning", "albumentations", "numpy")


def fingerprint(config: str) -> str:
    """A few digits that tell configurations apart; they are part of a run folder's name."""
    return hashlib.sha256(config.encode()).hexdigest()[:12]


def new_run_folder(runs: str | Path, name: str, mark: str) -> Path:
    """Make `runs/<name>/<time>-<mark>-<process>`; of two runs in one second each gets its own.

    Args:
        runs: Folder of all runs.
        name: Name of the run.
        mark: `fingerprint` of its configuration.
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
    """The run of a configuration: a finished one if there is any, else the last one begun."""
    try:
        found = sorted(path for path in (Path(runs) / name).glob(f"*-{mark}-*") if path.is_dir())
    except OSError as error:
        raise UserError(f"{runs}: cannot read ({error.strerror}); set runs=FOLDER") from error
    chosen = [path for path in found if is_finished(path)] or found
    return chosen[-1] if chosen else None


def is_finished(run: Path) -> bool:
    """Whether a run has come to its end: the summary is what it writes last."""
    return (run / "summary.json").is_file()


@contextmanager
def holding(folder: Path, wanted: bool = True) -> Iterator[None]:
    """Keep other processes out of a folder meanwhile.

    The lock goes with the process, however it ends. Where the system has none (Windows) nothing
    is kept out.

    Args:
        folder: The folder, which exists.
        wanted: False does nothing.

    Raises:
        UserError: If another process holds the folder.
    """
    if fcntl is None or not wanted:
        yield
        return
    path = folder / ".lock"
    try:
        file = path.open("a+")
    except OSError as error:
        raise UserError(f"{path}: cannot write ({error.strerror}); set runs=FOLDER") from error
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            process = file.read().strip() or "unknown"
            raise UserError(
                f"{folder}: process {process} is at work in it; wait for it, or end it"
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def is_held(folder: Path) -> bool:
    """Whether another process is at work in a folder."""
    try:
        with holding(folder):
            return False
    except UserError:
        return True


def write_text(path: Path, text: str) -> None:
    """Write a file completely or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write readable JSON."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def checksum(images: Iterable[tuple[str, Sequence[np.ndarray]]]) -> str:
    """Digits that tell images from others: names, sizes, types and every pixel.

    Args:
        images: For each image its name and its arrays, say pixels and label map.
    """
    digest = hashlib.sha256()
    for name, arrays in images:
        digest.update(name.encode())
        for array in arrays:
            digest.update(f" {array.dtype} {array.shape} ".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def images_checksum(records: Iterable[Record]) -> str:
    """`checksum` of images and all their labels, as a source reads them."""
    return checksum((record.id, (record.image, record.labels)) for record in records)


def environment(images: Iterable[Record] | None = None) -> dict[str, str | None]:
    """Versions, machine, folders, command and git commit, for the record.

    Args:
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
    found["command"] = " ".join(["nucleist", *sys.argv[1:]])
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
