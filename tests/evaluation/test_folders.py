"""Scores of label images that any tool wrote, and which files are paired."""

import csv
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.lines import Lines
from support.runs import said

import nucleist
from nucleist.cli.main import main
from nucleist.data.formats.label_maps import write_label_map
from nucleist.evaluation.scores import Evaluation
from nucleist.metrics.cards import card_of
from nucleist.types import UserError


def squares(*corners: tuple[int, int], ids: tuple[int, ...] | None = None) -> np.ndarray:
    """A label map of 10-px squares with these (row, column) corners."""
    labels = np.zeros((32, 64), np.int32)
    for i, (y, x) in zip(ids or range(1, 99), corners, strict=False):
        labels[y : y + 10, x : x + 10] = i
    return labels


TRUE = {"a": squares((0, 0), (15, 0)), "b": squares((3, 3), (3, 20), (18, 40))}
PRED = {  # a: one found, one missed, one false; b: all found, shifted by 2 columns
    "a": squares((0, 0), (15, 40)),
    "b": squares((3, 5), (3, 22), (18, 42), ids=(7, 300, 9)),
}


def write(path: Path, labels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, labels) if path.suffix == ".npy" else write_label_map(path, labels)
    return path


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name, labels in TRUE.items():
        write(tmp_path / "gt" / f"{name}.tif", labels)
    for name, labels in PRED.items():
        write(tmp_path / "pred" / f"{name}.png", labels)
    return tmp_path / "pred", tmp_path / "gt"


def test_table_json_and_csv_hold_every_measure(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["evaluate", *map(str, folders), "-o", str(out)]) == 0
    with (out / "per_image.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    summary = json.loads((out / "summary.json").read_text())
    # a: TP 1, FP 1, FN 1; b: TP 3 at IoU 80 / 120. Pooled 4 of 5, per image mean of 1/2 and 1.
    assert summary["recall"] == {"pooled": 0.8, "per_image": 0.75}
    assert summary["f1"] == {"pooled": 0.8, "per_image": 0.75}
    # 0.50 to 0.65: 4 / (4 + 1 + 1) and (1/3 + 1) / 2; above: 1 / (1 + 4 + 4) and (1/3 + 0) / 2
    assert summary["map"]["pooled"] == pytest.approx((4 * 4 / 6 + 6 / 9) / 10, abs=1e-6)
    assert summary["map"]["per_image"] == pytest.approx((4 * 4 / 6 + 6 / 6) / 10, abs=1e-6)
    # 100 + 3 * 80 shared pixels; 500 true, 500 predicted
    assert summary["pixel_iou"]["pooled"] == pytest.approx(340 / 660, abs=1e-6)
    assert (summary["images"], summary["nuclei"], summary["detections"]) == (2, 5, 5)
    assert (summary["correct"], summary["missed"], summary["gained"]) == (4, 1, 1)
    assert summary["without_partner"] == []
    assert [row["image"] for row in rows] == ["a", "b"]
    assert [float(row["recall"]) for row in rows] == [0.5, 1.0]
    told = capsys.readouterr().out
    names = [name for name, value in summary.items() if isinstance(value, dict)]
    assert len(names) > 15 and set(names) < set(rows[0])
    for name in names:
        line = next(line for line in told.splitlines() if line.split()[:1] == [name])
        values = summary[name]["pooled"], summary[name]["per_image"]
        assert [float(word) for word in line.split()[1:]] == pytest.approx(values, abs=1e-4)
        assert card_of(name), name
    for name in list(rows[0])[1:]:
        assert card_of(name), name
    assert "2 pairs, 0 without a partner" in told
    assert not list(tmp_path.rglob("thresholds.csv"))  # label images have no scores


@pytest.mark.parametrize(
    ("pred", "gt"),
    [
        ("a_labels.tif", "a.npy"),
        ("a_cp_masks.png", "a_masks.tif"),
        ("deep/er/a.npy", "a_gt.png"),
        ("a.npy", "masks/a.png"),
        ("a.png", "a/a.png"),
    ],
)
def test_names_and_formats_that_go_together(pred: str, gt: str, tmp_path: Path) -> None:
    write(tmp_path / "p" / pred, PRED["a"])
    write(tmp_path / "g" / gt, TRUE["a"])
    found = nucleist.evaluate(tmp_path / "p", tmp_path / "g")
    assert found.summary["recall"]["pooled"] == 0.5
    assert len(found.images) == 1


def test_images_and_pictures_beside_labels_are_passed_over(tmp_path: Path) -> None:
    # what Cellpose leaves: images, masks, flows, its own file; and what nucleist predict leaves
    photo = np.random.default_rng(0).integers(0, 255, (32, 64, 3), np.uint8)
    for name in ("c/a.png", "c/a_cp_output.png", "k/a_overlay.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(photo).save(tmp_path / name)
    np.save(tmp_path / "c" / "a_seg.npy", {"masks": 1}, allow_pickle=True)
    write(tmp_path / "c" / "a_cp_masks.png", PRED["a"])
    write(tmp_path / "k" / "a_labels.tif", TRUE["a"])
    lines = Lines()
    summary = nucleist.evaluate(tmp_path / "c", tmp_path / "k", progress=lines).summary
    assert summary["images"] == 1 and summary["recall"]["pooled"] == 0.5
    assert f"{tmp_path / 'c'}: 3 other files passed over" in lines.notes
    assert f"{tmp_path / 'k'}: 1 other files passed over" in lines.notes


def test_a_zip_is_read_in_place(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "truth.zip", "w") as archive:
        for path in folders[1].iterdir():
            archive.write(path, f"truth/{path.name}")
    assert nucleist.evaluate(folders[0], tmp_path / "truth.zip").summary["images"] == 2


def test_what_has_no_partner_is_named_and_not_scored(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pred, gt = folders
    write(pred / "only_predicted.png", TRUE["a"])
    write(gt / "only_true.tif", TRUE["a"])
    assert main(["evaluate", str(pred), str(gt)]) == 0
    told = capsys.readouterr()
    found = nucleist.evaluate(pred, gt)
    for path in (pred / "only_predicted.png", gt / "only_true.tif"):
        assert f"{path}: no partner, not scored" in told.err
        assert str(path) in found.summary["without_partner"]
    assert len(found.images) == 2 and "2 pairs, 2 without a partner" in told.out


def test_components_of_binary_masks_are_nuclei_if_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "p" / "a.png", 255 * (TRUE["b"] > 0))
    write(tmp_path / "p" / "b.npy", TRUE["b"] > 0)
    touching = squares((0, 0), (0, 10), (15, 40))  # a label map stays as it is
    write(tmp_path / "g" / "a.png", TRUE["b"])
    write(tmp_path / "g" / "b.png", touching)
    found = nucleist.evaluate(tmp_path / "p", tmp_path / "g", masks="components")
    assert [row["detections"] for row in found.images] == [3, 3]
    assert [row["nuclei"] for row in found.images] == [3, 3]
    assert [row["recall"] for row in found.images] == pytest.approx([1, 1 / 3])  # 70 / 130
    assert found.summary["masks"] == "components"


def test_images_beside_the_truth_are_passed_over(tmp_path: Path) -> None:
    """The folder that a net was trained on has `images/` and `labels/`."""
    write(tmp_path / "p" / "b_labels.tif", TRUE["b"])
    for folder in ("images", "labels"):
        write(tmp_path / "g" / folder / "b.png", TRUE["b"])
    lines = Lines()
    found = nucleist.evaluate(tmp_path / "p", tmp_path / "g", progress=lines)
    assert found.summary["images"] == 1 and found.summary["aji"]["pooled"] == 1
    assert f"{tmp_path / 'g'}: 1 other files passed over" in lines.notes


@pytest.mark.parametrize(
    "settings", [{"mask": "components"}, {"coco": True}, {"data": "kumar"}, {"overrides": ["a=1"]}]
)
def test_settings_of_a_model_are_refused(settings: dict[str, object], tmp_path: Path) -> None:
    name = next(iter(settings))
    with pytest.raises(UserError, match=f"{name} is for a model, not for label images"):
        nucleist.evaluate(tmp_path / "p", tmp_path / "g", **settings)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{pred}", "{gt}", "{gt}"], ["3 things", "LABELS TRUTH"]),
        (["{pred}", "/nowhere"], ["/nowhere", "no such folder"]),
        (["{empty}", "{gt}"], ["empty", "no label images"]),
        (["{pred}", "{gt}", "mask=components"], ["'mask'", "did you mean 'masks'?"]),
        (["{pred}", "{gt}", "masks=pieces"], ["masks=pieces", "labels, components"]),
        (["{pred}", "{gt}", "coco=true"], ["'coco'", "masks"]),
        (["{pred}", "{gt}", "-o"], ["-o", "FOLDER"]),
        (["{pred}", "{gt}", "-o", "/dev/null/x"], ["/dev/null"]),
        (["{pred}", "{other}"], ["no pair", "a_labels.png"]),
        (["{pred}", "{pred}/a.png"], ["a.png", ".zip"]),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else None,
)
def test_one_line_and_status_2(
    arguments: list[str],
    words: list[str],
    folders: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path / "other" / "c.tif", TRUE["a"])
    places = {name: tmp_path / name for name in ("pred", "gt", "empty", "other")}
    line = said(capsys, "evaluate", *(argument.format(**places) for argument in arguments))
    for word in words:
        assert word in line, line


def refused(tmp_path: Path) -> str:
    """The one line about `pred` and `gt`."""
    with pytest.raises(UserError) as error:
        nucleist.evaluate(tmp_path / "pred", tmp_path / "gt")
    assert "\n" not in str(error.value)
    return str(error.value)


def spoil_binary(path: Path) -> None:
    write(path, 255 * (TRUE["a"] > 0))


def spoil_color(path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 9, (32, 64, 3), np.uint8)).save(path)


def spoil_size(path: Path) -> None:
    write(path, TRUE["a"][:20])


def spoil_end(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


def spoil_name(path: Path) -> None:
    write(path.with_name("a_masks.tif"), TRUE["a"])
    write(path.with_name("a_labels.tif"), TRUE["a"])


def spoil_many(path: Path) -> None:
    write(path.parent / "a" / "1.png", TRUE["a"])
    write(path.parent / "a" / "2.png", TRUE["a"])
    path.unlink()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_binary, ["a.png", "binary mask", "masks=components"]),
        (spoil_color, ["a.png", "colour image"]),
        (spoil_size, ["20 x 64", "32 x 64"]),
        (spoil_end, ["a.png"]),
        (spoil_name, ["a_labels.tif", "a_masks.tif", "claim the same name"]),
        (spoil_many, ["one of 2 masks", "one label image"]),
    ],
)
def test_a_bad_label_image_is_named(spoil, words: list[str], tmp_path: Path) -> None:
    write(tmp_path / "pred" / "a.tif", PRED["a"])
    spoil(write(tmp_path / "gt" / "a.png", TRUE["a"]))
    line = refused(tmp_path)
    for word in words:
        assert word in line, line


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([{"masks": 1}]), ["Python objects"]),
        (np.full((4, 4), 0.5), ["whole numbers"]),
        (np.full((4, 4), -1), ["-1"]),
        (np.full((4, 4), 2**40), ["32 bits"]),
        (np.zeros((5, 4, 4), np.int32), ["(5, 4, 4)"]),
        (np.full((4, 4), 1j), ["complex128"]),
    ],
    ids=["object", "float", "negative", "huge", "stack", "complex"],
)
def test_an_npy_that_is_no_label_map_is_named(
    array: np.ndarray, words: list[str], tmp_path: Path
) -> None:
    (tmp_path / "pred").mkdir()
    np.save(tmp_path / "pred" / "a.npy", array, allow_pickle=True)
    write(tmp_path / "gt" / "a.png", TRUE["a"])
    line = refused(tmp_path)
    for word in ("a.npy", *words):
        assert word in line, line


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00", b"\x93NUMPY\x01\x00v\x00{'descr"])
def test_a_broken_npy_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "pred").mkdir()
    (tmp_path / "pred" / "a.npy").write_bytes(content)
    write(tmp_path / "gt" / "a.png", TRUE["a"])
    assert "a.npy" in refused(tmp_path)


def test_an_npy_that_claims_a_trillion_pixels_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pred").mkdir()
    with (tmp_path / "pred" / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<i4", "fortran_order": False, "shape": (10**6, 10**6)}
        )
    write(tmp_path / "gt" / "a.png", TRUE["a"])
    assert "a.npy" in refused(tmp_path)


def test_label_images_of_a_model_are_not_compared(folders: tuple[Path, Path]) -> None:
    found = nucleist.evaluate(*folders)
    assert isinstance(found, Evaluation)
    assert found.curve is None and found.checkpoint is None


def field(seed: int, size: int = 64) -> np.ndarray:
    """Discs in the upper left two thirds of a square label map."""
    rng, labels = np.random.default_rng(seed), np.zeros((size, size), np.int32)
    y, x = np.mgrid[:size, :size]
    for number in range(1, 7):
        row, column = rng.uniform(4, size * 0.6), rng.uniform(4, size * 0.4)
        labels[np.hypot(y - row, x - column) < 4] = number
    return labels


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        (np.transpose, "transposed (rows and columns exchanged)?"),
        (np.flipud, "turned upside down?"),
        (np.fliplr, "mirrored?"),
        (lambda labels: np.rot90(labels, 2), "turned by 180 degrees?"),
        (lambda labels: np.roll(labels, (9, -3), (0, 1)), "shifted by 9 rows and -3 columns?"),
    ],
)
def test_turned_and_shifted_label_images_are_suspected_in_one_line(turn, words, tmp_path) -> None:
    for seed in range(3):
        write(tmp_path / "gt" / f"{seed}.png", field(seed))
        write(tmp_path / "pred" / f"{seed}.png", np.ascontiguousarray(turn(field(seed))))
    lines = Lines()
    nucleist.evaluate(tmp_path / "pred", tmp_path / "gt", progress=lines)
    (line,) = (line for line in lines.notes if "?" in line)
    assert words in line and "0.png" in line and "(3 of 3 label images)" in line


def test_honest_predictions_are_not_suspected(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for seed in range(6):
        true, other = field(seed), field(seed + 100)
        guess = np.where(np.isin(true, rng.permutation(6)[:3] + 1), 0, true)  # half is missed
        guesses = [true, guess, other, np.zeros_like(true), np.roll(true, seed % 3, 0), guess]
        write(tmp_path / "gt" / f"{seed}.png", true)
        write(tmp_path / "pred" / f"{seed}.png", guesses[seed])
    lines = Lines()
    nucleist.evaluate(tmp_path / "pred", tmp_path / "gt", progress=lines)
    assert lines.notes == []


def test_a_transposed_size_is_named(tmp_path: Path) -> None:
    write(tmp_path / "pred" / "a.png", np.ascontiguousarray(TRUE["a"].T))
    write(tmp_path / "gt" / "a.png", TRUE["a"])
    assert "rows and columns are exchanged, transpose it" in refused(tmp_path)


def test_camera_images_given_as_labels(tmp_path: Path) -> None:
    camera = np.random.default_rng(0).integers(90, 5000, (32, 64)).astype(np.int32)
    write(tmp_path / "pred" / "a.tif", camera)
    write(tmp_path / "gt" / "a.png", TRUE["a"])
    lines = Lines()
    found = nucleist.evaluate(tmp_path / "pred", tmp_path / "gt", progress=lines)
    assert found.summary["recall"]["pooled"] == 0  # bad predictions are scored
    assert [line for line in lines.notes if "as in a camera image" in line and "a.tif" in line]
    write(tmp_path / "gt" / "a.png", camera)
    assert "as in a camera image; give the label map" in refused(tmp_path)


def test_masks_of_cellpose_alone_are_read(tmp_path: Path) -> None:
    (tmp_path / "pred").mkdir()
    content = np.empty((), object)
    content[()] = {"masks": PRED["a"].astype(np.uint16)}
    np.save(tmp_path / "pred" / "a_seg.npy", content)
    write(tmp_path / "gt" / "a.ome.tif", TRUE["a"])
    assert nucleist.evaluate(tmp_path / "pred", tmp_path / "gt").summary["recall"]["pooled"] == 0.5


def test_progress_is_shown_where_it_is_asked_for(
    folders: tuple[Path, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    write(folders[0] / "only.png", TRUE["a"])
    nucleist.evaluate(*folders)
    assert capfd.readouterr() == ("", "")
    nucleist.evaluate(*folders, progress=True)
    told = capfd.readouterr()
    assert told.out == "" and "only.png: no partner, not scored" in told.err
