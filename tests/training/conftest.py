"""What the tests of training share."""

import pytest


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs draw nothing at their end, which takes half the time of a tiny one."""
    for name in ("write_figures", "write_test_overlays"):
        monkeypatch.setattr(f"nucleist.training.summary.{name}", lambda *arguments: None)
