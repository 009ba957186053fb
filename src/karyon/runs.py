"""The folder of a run: a name that cannot collide, and what is written into it."""

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from karyon.atomic import replacing
from karyon.types import UserError

PACKAGES = ("karyon", "torch", "torchvision", "pytorch-lightning", "albumentations", "numpy")


def new_run_folder(runs: str | Path, name: str, config: str) -> Path:
    """Make `runs/<name>/<time>-<hash>-<process>`; of two runs in one second each gets its own.

    Processes that a distributed run starts take the folder of the first, from the environment.
    """
    inherited = os.environ.get("KARYON_RUN_DIR")
    if inherited and "LOCAL_RANK" in os.environ:
        return Path(inherited)
    time = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    stem = f"{time}-{hashlib.sha256(config.encode()).hexdigest()[:6]}-{os.getpid()}"
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
        os.environ["KARYON_RUN_DIR"] = str(folder)
        return folder
    raise UserError(f"{Path(runs) / name}: no free run folder; set runs=FOLDER")


def write_text(path: Path, text: str) -> None:
    """Write a file completely or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write readable JSON."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def environment() -> dict[str, str | None]:
    """Versions, machine, command and git commit, for the record."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    found["platform"] = platform.platform()
    found["command"] = " ".join(["karyon", *sys.argv[1:]])
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
