"""Large images as files: cut at half and started again they end as if nothing had happened."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from support.lines import Lines
from support.runs import said
from support.sources import InMemory, grid
from support.tiled import grid_of, on_seams

import nucleist
from nucleist.cli.main import main
from nucleist.data.formats.label_maps import load_label_map
from nucleist.plots.contours import draw_contours, to_display

pytestmark = pytest.mark.slow

SIZE = (500, 620)
KILLED = """
import os, signal, sys
import nucleist
from nucleist.types import Progress

class Half(Progress):
    def watch(self, items, title):
        for number, item in enumerate(items):
            if title != "outlining" and number == len(items) // 2:
                os.kill(os.getpid(), signal.SIGKILL)
            yield item

nucleist.predict(*sys.argv[1:], tile=192, overlap=64, progress=Half())
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run of a net that needs no training."""
    source = InMemory([grid(*range(1, 9))], [])
    folder = str(tmp_path_factory.mktemp("otsu"))
    return nucleist.train(
        source, model="otsu", trainer="cpu", runs=folder, score_threshold=0.4, progress=Lines()
    )


@pytest.fixture
def image(tmp_path) -> Path:
    pixels = on_seams(grid_of(*SIZE, 192, 64))[0].astype(int)
    pixels += np.random.default_rng(0).integers(0, 20, pixels.shape)
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name[0] != "."}


class Stopped(Lines):
    """Ctrl-C at a third of the tiles."""

    def watch(self, items, title):
        for number, item in enumerate(items):
            if title != "outlining" and number == len(items) // 3:
                raise KeyboardInterrupt
            yield item


@pytest.mark.whole
def test_killed_at_half_and_started_again(run, image):
    whole, cut = image.parent / "whole", image.parent / "cut"
    nucleist.predict(run, image, whole, tile=192, overlap=64)
    command = [sys.executable, "-c", KILLED, *map(str, (run, image, cut))]
    ended = subprocess.run(command, env=dict(os.environ), check=False)
    assert ended.returncode == -signal.SIGKILL
    work = cut / ".a_tiles"
    done = {path: path.stat().st_mtime_ns for path in work.glob("[0-9]*.npz")}
    tiles = len(grid_of(*SIZE, 192, 64))
    assert len(done) == tiles // 2 and not contents(cut)
    lines = Lines()
    nucleist.predict(run, image, cut, tile=192, overlap=64, progress=lines)
    assert f"500 x 620 px in {tiles} tiles of 192, {tiles // 2} of them done" in lines.notes[0]
    assert not work.exists()
    assert contents(cut) == contents(whole) and len(contents(whole)) == 5


def test_tiles_of_other_settings_are_not_taken(run, image):
    folder = image.parent / "cut"
    with pytest.raises(KeyboardInterrupt):
        nucleist.predict(run, image, folder, tile=192, overlap=64, progress=Stopped())
    assert len(list((folder / ".a_tiles").glob("[0-9]*.npz"))) == 6
    lines = Lines()
    nucleist.predict(run, image, folder, tile=192, overlap=64, pieces=0.5, progress=lines)
    assert "done" not in lines.notes[0]
    nucleist.predict(run, image, image.parent / "whole", tile=192, overlap=64, pieces=0.5)
    assert contents(folder) == contents(image.parent / "whole")


def test_in_tiles_as_without(run, image):
    for name, tile in (("tiles", 256), ("whole", "none")):
        nucleist.predict(run, image, image.parent / name, tile=tile)
    one, two = (load_label_map(image.parent / n / "a_labels.tif") for n in ("tiles", "whole"))
    assert one.max() == two.max() > 300 and ((one > 0) == (two > 0)).mean() > 0.9999
    assert (image.parent / "tiles" / "a_overlay.png").stat().st_size > 1000


def test_the_words_of_the_command_line(run, image, capsys):
    command = ["predict", str(run), str(image), "device=cpu", "-o"]
    assert main([*command, str(image.parent / "out"), "tile=192", "overlap=64"]) == 0
    assert "in 20 tiles of 192" in capsys.readouterr().err
    # what was asked for is a setting of the results
    told = said(capsys, *command, str(image.parent / "out"), "tile=256", last=True)
    assert "is there already" in told
    assert main([*command, str(image.parent / "out"), "tile=192", "overlap=64"]) == 0
    other = str(image.parent / "other")
    capsys.readouterr()
    assert "tile=some: give pixels" in said(capsys, *command, other, "tile=some")
    assert "more than half of tile=192" in said(capsys, *command, other, "tile=192", "overlap=128")
    assert not (image.parent / "other").exists()


def test_files_that_agree(run, image):
    out = image.parent / "out"
    nucleist.predict(run, image, out, tile=192, overlap=64, save="labels,overlay,csv,geojson")
    labels = load_label_map(out / "a_labels.tif")
    with tifffile.TiffFile(out / "a_labels.tif") as file:
        assert file.pages.first.is_tiled and file.pages.first.dtype == np.uint16
    with (out / "a_nuclei.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["label"]) for row in rows] == list(range(1, labels.max() + 1))
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    for row in rows:
        own = labels == int(row["label"])
        assert own.sum() == float(row["area_px"])
        assert float(row["centroid_x"]) == pytest.approx(own.nonzero()[1].mean() + 0.5, abs=0.01)
    pixels = np.asarray(Image.open(image))
    expected = draw_contours(to_display(pixels), labels)
    np.testing.assert_array_equal(np.asarray(Image.open(out / "a_overlay.png")), expected)
    assert len(json.loads((out / "a_labels.geojson").read_text())["features"]) == len(rows)


def test_nothing_found_where_something_is(run, image):
    lines = Lines()
    nucleist.predict(
        run, image, image.parent / "out", tile=192, score_threshold=1.0, progress=lines
    )
    (warning,) = lines.warnings
    assert "a.png: no nucleus found, but the image has structure" in warning
