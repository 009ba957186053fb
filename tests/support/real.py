"""Where the real data are; a test that needs them is skipped where they are not."""

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("NUCLEIST_DATA") or Path(__file__).parents[3] / "shared" / "data")


def place(name: str) -> str:
    """Folder of a data set; skips the test without it."""
    if not (ROOT / name).exists():
        pytest.skip(f"{name} is not in {ROOT}; set NUCLEIST_DATA to the folder that holds it")
    return str(ROOT / name)
