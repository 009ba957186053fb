"""Bars on a terminal, one below the other, and none elsewhere."""

import os
import pty
import subprocess
import sys

import pytest

from nucleist import progress
from nucleist.progress import Console

NESTED = """
from nucleist.progress import Console
console = Console()
for image in console.watch(["a", "b"], "images"):
    for tile in console.watch(range(3), f"tiles of {image}"):
        pass
    console.note(f"{image} is done")
try:
    for image in console.watch(["c"], "images"):
        raise KeyError
except KeyError:
    pass
assert list(console.watch([1, 2], "again")) == [1, 2]
"""


def test_without_a_terminal_the_items_come_alone(capsys):
    console = Console()
    inner = [list(console.watch(range(2), "inner")) for _ in console.watch("ab", "outer")]
    assert inner == [[0, 1], [0, 1]] and capsys.readouterr() == ("", "")


def test_long_work_without_a_terminal_says_how_much_is_left(capsys, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0)
    assert list(Console().watch("abc", "drawing")) == list("abc")
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["drawing: 1 of 3, 0 s left", "drawing: 2 of 3, 0 s left"]


@pytest.mark.skipif(not hasattr(pty, "openpty"), reason="needs a terminal")
def test_on_a_terminal_a_bar_is_shown_below_another_one():
    ours, theirs = pty.openpty()
    code = [sys.executable, "-W", "error", "-c", NESTED]
    process = subprocess.Popen(code, stderr=theirs, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    told = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        told += part
    assert process.wait() == 0, told.decode()
    for words in (b"images", b"tiles of a", b"tiles of b", b"a is done"):
        assert words in told
