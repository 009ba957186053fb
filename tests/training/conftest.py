"""What the tests of training share."""

from pathlib import Path

import pytest
from support import runs


@pytest.fixture(scope="session")
def pa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of partial-annotation Mask R-CNN; do not change it."""
    return runs.shared(tmp_path_factory, runs.PA)


@pytest.fixture(scope="session")
def canonical(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the canonical-shape net; do not change it."""
    return runs.shared(tmp_path_factory, runs.CANONICAL)


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs draw nothing at their end, which takes half the time of a tiny one."""
    for name in ("write_figures", "write_test_overlays"):
        monkeypatch.setattr(f"nucleist.training.summary.{name}", lambda *arguments: None)
