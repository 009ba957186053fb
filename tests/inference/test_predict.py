"""Many images through a model: what is written, what is refused, who does which share."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.lines import Lines
from support.runs import said

import nucleist
from nucleist.cli.main import main
from nucleist.data.formats.label_maps import load_label_map
from nucleist.inference.inputs import find_images, share_of
from nucleist.inference.result import COLUMNS
from nucleist.types import UserError

pytestmark = pytest.mark.slow

PIXELS = np.random.default_rng(0).integers(0, 200, (50, 70, 3), np.uint8)


@pytest.fixture
def a(tmp_path: Path) -> Path:
    """An image of noise."""
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_the_table_shows_what_the_label_image_shows(canonical: Path, a: Path) -> None:
    out, lines = a.parent / "out", Lines()
    model = nucleist.load(canonical, device="cpu")
    assert nucleist.predict(model, a, out, progress=lines) == {a: len(model.predict(PIXELS))}
    with (out / "a_nuclei.csv").open() as file:
        rows = list(csv.DictReader(file))
    labels = load_label_map(out / "a_labels.tif")
    assert lines.notes == [f"{a}: {len(rows)} nuclei"] and not lines.warnings
    assert len(rows) == labels.max() > 3
    first = (*COLUMNS, *model.net.can.shape_parameters)
    assert tuple(rows[0])[: len(first)] == first
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True) and scores[-1] >= 0.5
    for i, row in enumerate(rows, 1):
        ys, xs = np.nonzero(labels == i)
        assert int(row["label"]) == i and float(row["area_px"]) == len(ys)
        assert float(row["centroid_x"]) == pytest.approx(xs.mean() + 0.5, rel=1e-5)
        assert float(row["centroid_y"]) == pytest.approx(ys.mean() + 0.5, rel=1e-5)
        box = [float(row[f"box_{side}"]) for side in ("left", "top", "right", "bottom")]
        assert box == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        major, minor = float(row["semi_major_px"]), float(row["semi_minor_px"])
        assert major >= minor > 0
        assert float(row["shape_area_px"]) == pytest.approx(math.pi * major * minor, rel=1e-4)


def test_a_score_threshold_shows_what_evaluation_counts(canonical: Path, a: Path) -> None:
    """Weak members of a group stay in its mask: its score is that of its best slot."""
    model = nucleist.load(canonical, device="cpu")
    every = model.predict(PIXELS, 0.0)
    middle = float(np.median(every.scores))
    nucleist.predict(model, a, a.parent / "out", score_threshold=middle)
    labels = load_label_map(a.parent / "out" / "a_labels.tif")
    assert 0 < labels.max() < len(every.scores)
    kept = np.where(every.labels <= (every.scores > middle).sum(), every.labels, 0)
    np.testing.assert_array_equal(labels, kept)


def test_earlier_results_are_kept(plain: Path, a: Path) -> None:
    model, out = nucleist.load(plain, device="cpu"), a.parent / "out"
    nucleist.predict(model, a, out, score_threshold=0.06, progress=Lines())
    labels = load_label_map(out / "a_labels.tif")
    assert labels.shape == (50, 70) and set(np.unique(labels)) == set(range(labels.max() + 1))
    with Image.open(out / "a_overlay.png") as overlay:
        assert overlay.size == (70, 50)
    with pytest.raises(UserError, match=r"a_labels\.tif: is there already.*overwrite=true"):
        nucleist.predict(model, a, out, score_threshold=0.9)
    np.testing.assert_array_equal(load_label_map(out / "a_labels.tif"), labels)
    nucleist.predict(model, a, out, score_threshold=0.9, overwrite=True, progress=Lines())
    assert not load_label_map(out / "a_labels.tif").any()


def test_the_words_of_the_command_line(
    canonical: Path, a: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["predict", str(canonical), str(a), "-o", str(a.parent / "out")]
    assert main([*command, "model.group=false", "model.grid=32", "device=cpu"]) == 0
    told = capsys.readouterr()
    assert told.out.strip() == str(a.parent / "out") and f"{a}: " in told.err
    options = {"group": False, "grid": 32}
    model = nucleist.load(canonical, options=options, device="cpu")
    labels = load_label_map(a.parent / "out" / "a_labels.tif")
    np.testing.assert_array_equal(labels, model.predict(PIXELS).labels)
    assert main([*command, "overwrite=true"]) == 0
    assert (load_label_map(a.parent / "out" / "a_labels.tif") != labels).any()
    capsys.readouterr()
    command = ["predict", str(canonical), str(a), "-o", str(a.parent / "other")]
    assert "did you mean 'group'?" in said(capsys, *command, "model.grup=false")
    assert "is a list of values" in said(capsys, *command, "model.grid=32,64")
    assert "model.grid=33 is unknown" in said(capsys, *command, "model.grid=33")
    assert not (a.parent / "other").exists()


def test_progress_is_shown_where_it_is_asked_for(
    canonical: Path, a: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = nucleist.load(canonical, device="cpu")
    nucleist.predict(model, a, a.parent / "1")
    assert capfd.readouterr() == ("", "")
    nucleist.predict(model, a, a.parent / "2", progress=True)
    told = capfd.readouterr()
    assert told.out == "" and f"{a}: " in told.err and "nuclei" in told.err


def test_a_limit_that_was_reached_is_warned_of(plain: Path, a: Path) -> None:
    lines, options = Lines(), {"roi.detections_per_img": 1}
    given = {"options": options, "device": "cpu", "score_threshold": 0.05}
    nucleist.predict(plain, a, a.parent / "out", progress=lines, **given)
    (warning,) = lines.warnings
    assert "detections_per_img=1 in 1 of 1 images" in warning


def test_one_bad_file_does_not_end_the_batch(
    canonical: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in "ace":
        Image.fromarray(PIXELS).save(folder / f"{name}.png")
    (folder / "b.png").touch()
    (folder / "d.png").symlink_to("gone.png")
    (folder / "f.tif").mkdir()
    (folder / "g.tif").write_bytes((folder / "a.png").read_bytes()[:200])
    bad = {folder / name for name in ("b.png", "d.png", "g.tif")}
    lines = Lines()
    model = nucleist.load(canonical, device="cpu")
    found = nucleist.predict(model, folder, out, progress=lines)
    assert list(found) == [folder / f"{name}.png" for name in "ace"] and len(found) == 3
    assert set(found.failed) == bad and "empty" in found.failed[folder / "b.png"]
    assert [w for w in lines.warnings if "not outlined" in w and "b.png" in w]
    assert "3 of 6 images could not be outlined; mend or remove them" in lines.warnings[-1]
    assert any("f.tif: a folder with the name of an image" in line for line in lines.notes)
    assert not list(out.glob("b*"))
    # the same again, from the command line: what is done is not done again
    command = ["predict", str(canonical), str(folder), "-o", str(out), "device=cpu"]
    before = (out / "a_labels.tif").stat().st_mtime_ns
    assert main(command) == 3
    told = capsys.readouterr()
    assert told.out.strip() == str(out) and "3 of 6 images have these results already" in told.err
    for path in bad:
        path.unlink()
    Image.fromarray(PIXELS).save(folder / "b.png")
    assert main(command) == 0 and (out / "b_nuclei.csv").exists()
    assert (out / "a_labels.tif").stat().st_mtime_ns == before
    # but not of another image, or with other settings
    assert "overwrite=true" in said(capsys, *command, "score_threshold=0.9", last=True)
    Image.fromarray(PIXELS[::-1]).save(folder / "c.png")
    assert "c_labels.tif: is there already" in said(capsys, *command, last=True)


def test_a_single_bad_image_is_an_error(canonical: Path, tmp_path: Path) -> None:
    (tmp_path / "e.png").touch()
    with pytest.raises(UserError, match=r"e\.png: empty file"):
        nucleist.predict(canonical, tmp_path / "e.png", tmp_path / "out", device="cpu")


def test_files_of_a_mac_are_left_out(canonical: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "__MACOSX").mkdir(parents=True)
    Image.fromarray(PIXELS).save(folder / "a.png")
    for name in ("._a.png", ".DS_Store", "__MACOSX/._a.png", ".hidden.tif"):
        (folder / name).write_bytes(b"\0\5\x16\7Mac OS X")
    found = nucleist.predict(canonical, folder, tmp_path / "out", device="cpu", progress=Lines())
    assert list(found) == [folder / "a.png"] and not found.failed


def test_a_model_among_the_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pattern that matches two: `predict runs/*/last.ckpt images`."""
    for run in "ab":
        (tmp_path / run / "checkpoints").mkdir(parents=True)
        (tmp_path / run / "checkpoints" / "last.ckpt").touch()
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    for two in ([tmp_path / run for run in "ab"], sorted(tmp_path.glob("*/*/last.ckpt"))):
        words = [str(path) for path in [*two, tmp_path / "a.png"]]
        line = said(capsys, "predict", *words, "-o", str(tmp_path / "out"))
        assert f"{two[1]}: a trained model among the images; give one MODEL" in line


def test_no_nucleus_where_something_is_to_be_seen(canonical: Path, image: Path) -> None:
    model, lines, out = nucleist.load(canonical, device="cpu"), Lines(), image.parent / "out"
    nucleist.predict(model, image, out, score_threshold=1, progress=lines)
    assert "no nucleus found, but the image has structure" in lines.warnings[0]
    assert "mine_overlay.png" in lines.warnings[0]
    Image.fromarray(PIXELS).save(image)  # noise
    lines = Lines()
    nucleist.predict(model, image, out, score_threshold=1, progress=lines, overwrite=True)
    assert not lines.warnings


def test_two_images_of_one_name_are_refused(plain: Path, a: Path) -> None:
    other = a.parent / "other" / "a.tif"
    other.parent.mkdir()
    other.touch()
    with pytest.raises(UserError, match=r"has the name of .*predict them into two folders"):
        nucleist.predict(plain, [a, other], a.parent / "out")
    assert not (a.parent / "out").exists()


def test_processes_share_the_images(plain: Path, tmp_path: Path) -> None:
    images = [Path(f"{i}.png") for i in range(5)]
    parts = [share_of(images, f"{i}/3") for i in (1, 2, 3)]
    assert sorted(path for part in parts for path in part) == images
    assert parts[1] == [images[1], images[4]]
    assert share_of(images, None) == images
    for wrong in ("0/3", "4/3", "1", "a/b", "1/0"):
        with pytest.raises(UserError, match=f"share={wrong} is not I/N"):
            share_of(images, wrong)


def test_of_a_folder_its_images_are_outlined(tmp_path: Path) -> None:
    """Not the labels and pictures that lie beside them, as predict itself leaves them."""
    for name in ("a.png", "a_labels.tif", "a_overlay.png", "b.tif", "b_masks.png", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "case_ROI.tif").touch()  # an image: there is no `case`
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "c.png").touch()
    lines = Lines()
    found = [path.name for path in find_images([tmp_path], lines)]
    assert found == ["a.png", "b.tif", "case_ROI.tif"]
    assert "left out 3 labels or pictures" in lines.notes[0]
    for path in tmp_path.glob("*.*"):
        path.unlink()
    assert [path.name for path in find_images([tmp_path], lines)] == ["c.png"]
    for missing in (tmp_path / "none", tmp_path / "images" / "d.png"):
        with pytest.raises(UserError, match="no such file or folder"):
            find_images([missing], lines)


def test_shares_leave_one_table_and_formats_are_added(canonical: Path, tmp_path: Path) -> None:
    model, folder, out = nucleist.load(canonical, device="cpu"), tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in "abc":
        Image.fromarray(np.roll(PIXELS, ord(name), 0)).save(folder / f"{name}.png")
    counts: dict[Path, int] = {}
    for part in ("2/2", "1/2"):
        counts |= nucleist.predict(model, folder, out, share=part, save="csv,labels")
    with (out / "nuclei.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(counts.values()) and {row["image"] for row in rows} == {
        "a.png", "b.png", "c.png"
    }  # fmt: skip
    assert tuple(rows[0])[-12:] == tuple(
        f"{color}_{end}"
        for color in ("red", "green", "blue")
        for end in ("mean", "min", "max", "std")
    )
    with (out / "images.csv").open() as file:
        assert [int(row["nuclei"]) for row in csv.DictReader(file)] == [
            counts[folder / f"{name}.png"] for name in "abc"
        ]
    before = {path: path.stat().st_mtime_ns for path in out.glob("[abc]_*")}
    lines = Lines()
    again = nucleist.predict(model, folder, out, save=("geojson", "labels", "csv"), progress=lines)
    assert dict(again) == counts and not lines.warnings
    assert {path.name for path in out.glob("*.geojson")} == {f"{n}_labels.geojson" for n in "abc"}
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert not list(out.glob("*overlay*"))
    # overwrite=true with other settings: what is left of the earlier ones is not taken for new
    nucleist.predict(model, folder, out, save="labels", overwrite=True, score_threshold=0.9)
    with pytest.raises(UserError, match=r"_labels\.geojson: is there already"):
        nucleist.predict(model, folder, out, save="labels,geojson", score_threshold=0.9)
