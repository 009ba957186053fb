"""Two processes that were given the same folder: each image is outlined once."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.lines import Lines
from support.sources import InMemory, grid

import nucleist
from nucleist.files import claiming
from nucleist.inference import earlier
from nucleist.types import UserError

OTHER = """
import sys
import nucleist
print("ready", flush=True)
sys.stdin.readline()
print(len(nucleist.predict(*sys.argv[1:], device="cpu")))
"""
NAMES = "abcd"
PIXELS = np.full((64, 64, 3), 20, np.uint8)
PIXELS[8:24, 8:24] = PIXELS[40:56, 30:46] = 200


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run of a net that needs no training."""
    folder = str(tmp_path_factory.mktemp("otsu"))
    source = InMemory([grid(*range(1, 9))], [])
    return nucleist.train(source, model="otsu", trainer="cpu", runs=folder, progress=Lines())


@pytest.fixture
def images(tmp_path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in NAMES:
        Image.fromarray(PIXELS).save(folder / f"{name}.png")
    return folder


def finished(folder: Path) -> Counter[str]:
    """How often each image was outlined."""
    lines = map(json.loads, (folder / earlier.NAME).read_text().splitlines())
    return Counter(line["name"] for line in lines if "nuclei" in line)


@pytest.mark.whole
def test_two_processes_share_a_folder(run, images, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-c", OTHER, *map(str, (run, images, out))]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=dict(os.environ), text=True, **pipes) as other:
        assert other.stdout.readline() == "ready\n"
        other.stdin.write("\n")
        other.stdin.flush()
        found = nucleist.predict(run, images, out, device="cpu")
        assert other.communicate()[0] == "4\n", "each tells of all images"
    assert len(found) == 4 and not found.failed
    assert finished(out) == Counter(NAMES), "none was done twice"
    assert (out / "images.csv").read_text().count("\n") == 5
    assert not list(out.glob(".*.lock")), "locks are removed"


class Meanwhile(Lines):
    """Another process begins with an image before this one does, and ends while this one waits."""

    def __init__(self, begin, end):
        super().__init__()
        self.begin, self.end = begin, end

    def watch(self, items, title):
        self.begin()
        yield from items

    def note(self, line):
        super().note(line)
        if line.startswith("waiting"):
            self.end()


@pytest.mark.parametrize("ends", ["done", "killed", "with other settings"])
def test_an_image_that_another_process_has_comes_last(run, images, tmp_path, ends):
    out, lock = tmp_path / "out", None

    def begin():
        nonlocal lock
        lock = claiming(out / ".b.lock")
        assert lock.__enter__()

    def end():
        line = {key: known[key] for key in ("image", "settings", "saved")} | {"nuclei": 77}
        if ends == "with other settings":
            line["settings"] = "others"
        if ends != "killed":
            (out / "b_labels.tif").touch()
            earlier.add(out, "b", line)
        lock.__exit__(None, None, None)

    known = _line_of(run, images / "b.png", tmp_path)
    lines = Meanwhile(begin, end)
    if ends == "with other settings":
        with pytest.raises(UserError, match="is there already"):
            nucleist.predict(run, images, out, progress=lines)
        return
    found = nucleist.predict(run, images, out, progress=lines)
    assert "waiting for 1 images that other processes outline" in lines.notes
    notes = [line for line in lines.notes if "nuclei" in line]
    assert len(found) == 4 and notes[-1].startswith(f"{images / 'b.png'}: ")
    assert notes[-1].endswith("by another process") == (ends == "done")
    assert (found[images / "b.png"] == 77) == (ends == "done")


def _line_of(run: Path, image: Path, folder: Path) -> dict:
    nucleist.predict(run, image, folder / "alone")
    return earlier.read(folder / "alone")[image.stem]
