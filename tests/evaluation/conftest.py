"""Trained models that the tests of this folder look at; do not change their folders."""

from pathlib import Path

import pytest
from support import runs


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of Mask R-CNN, tested on both of its test images."""
    return runs.shared(tmp_path_factory, runs.PLAIN)


@pytest.fixture(scope="session")
def pa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of partial-annotation Mask R-CNN."""
    return runs.shared(tmp_path_factory, runs.PA)
