"""The last net: what the system refuses is one line, wherever it happens."""

import os
import subprocess
import sys

import pytest
from support.runs import said

import nucleist.cli.metrics
from nucleist.cli.main import main

pytestmark = pytest.mark.slow


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> OSError:
    """A verb that meets an error which nothing inside expects."""
    error = PermissionError(13, "Permission denied", "a/b.csv")

    def verb(arguments: object) -> int:
        raise error

    monkeypatch.setattr(nucleist.cli.metrics, "main", verb)
    return error


def test_what_the_system_refuses_is_one_line(
    refused: OSError, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert said(capsys, "metrics") == "nucleist: a/b.csv: Permission denied; check file and disk"
    refused.filename = None
    assert said(capsys, "metrics") == "nucleist: Permission denied; check file and disk"
    monkeypatch.setenv("NUCLEIST_TRACEBACK", "1")
    with pytest.raises(PermissionError):
        main(["metrics"])


@pytest.mark.skipif(os.name != "posix", reason="closes a pipe")
@pytest.mark.parametrize("unbuffered", ["1", ""], ids=["while it writes", "at the end"])
@pytest.mark.parametrize("words", [["train", "--help"], ["--version"]], ids=" ".join)
def test_a_reader_that_goes_is_no_error(words: list[str], unbuffered: str) -> None:
    """As `nucleist ... | head -0`: the pipe is closed before anything is written.

    What is longer than Python's buffer is written at once, what is shorter at the end.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "nucleist", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    with process.stderr as errors:
        assert errors.read() == b""
    assert process.wait() in (0, 1)
