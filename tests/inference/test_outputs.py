"""Results of many images: tables of the folder, what is there already, what is still missing."""

import csv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from support.outlined import blobs, odd, predicted

from nucleist.inference import earlier
from nucleist.inference.outputs import (
    IMAGES,
    NUCLEI,
    PER_IMAGE,
    check_tables,
    done_before,
    missing,
    write_tables,
)
from nucleist.types import UserError


def image(labels: np.ndarray, color: bool = False) -> np.ndarray:
    rng = np.random.default_rng(len(np.unique(labels)))
    noise = rng.integers(0, 99, (*labels.shape, 3 if color else 1), np.uint8)
    return noise if color else np.repeat(noise, 3, 2)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_one_table_of_all_images(tmp_path: Path) -> None:
    """Also of images with other channels: cells that an image has not are empty."""
    predicted(tmp_path, "a, b", odd(), ("csv",), image(odd()))
    predicted(tmp_path, "c", np.zeros((10, 20), np.int32), ("csv",), np.zeros((10, 20, 3), "u1"))
    predicted(tmp_path, "d", blobs(12), ("csv",), image(blobs(12), color=True))
    predicted(tmp_path, "e", odd(), ("labels",), image(odd()))  # has no table of its own
    out = tmp_path / "out"
    earlier.add(out, "f", {"image": "x", "settings": "y", "saved": ["csv"]})  # was cut
    for _ in range(2):
        write_tables(out)
    nuclei = rows(out / NUCLEI)
    assert [row["image"] for row in nuclei] == ["a, b.png"] * 9 + ["d.png"] * 12
    own = rows(out / "d_nuclei.csv")
    assert [{k: row[k] for k in own[0]} for row in nuclei[9:]] == own
    assert nuclei[0]["intensity_mean"] and not nuclei[0]["channel_2_mean"]
    images = rows(out / IMAGES)
    assert tuple(images[0]) == PER_IMAGE
    assert [(row["image"], row["nuclei"]) for row in images] == [
        ("a, b.png", "9"), ("c.png", "0"), ("d.png", "12"),
    ]  # fmt: skip
    area = np.count_nonzero(odd())
    first = images[0]
    assert float(first["nuclei_area_px"]) == area
    assert float(first["covered"]) == pytest.approx(area / odd().size)
    assert float(first["nuclei_per_megapixel"]) == pytest.approx(9e6 / odd().size)
    assert float(first["mean_area_px"]) == pytest.approx(area / 9)
    assert first["nuclei_per_mm2"] == "" and images[1]["mean_area_px"] == ""


def test_density_where_the_size_of_a_pixel_is_known(tmp_path: Path) -> None:
    predicted(tmp_path, "a", odd(), ("csv",), image(odd()))
    out = tmp_path / "out"
    line = earlier.read(out)["a"]
    earlier.add(out, "a", {**line, "pixel_size": 0.5})
    write_tables(out)
    (row,) = rows(out / IMAGES)
    square_mm = 72 * 64 * 0.25e-6
    assert float(row["image_area_mm2"]) == pytest.approx(square_mm)
    assert float(row["nuclei_per_mm2"]) == pytest.approx(9 / square_mm)


def test_workers_that_share_a_folder_leave_whole_tables(tmp_path: Path) -> None:
    """Threads here; the lock is that of a file, so that processes wait in the same way."""

    def share(number: int) -> None:
        for name in range(number, 12, 4):
            predicted(tmp_path, f"{name:02d}", odd(), ("csv",), image(odd()))
            write_tables(tmp_path / "out")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(share, range(4)))
    assert [row["image"] for row in rows(tmp_path / "out" / IMAGES)] == [
        f"{name:02d}.png" for name in range(12)
    ]
    assert len(rows(tmp_path / "out" / NUCLEI)) == 12 * 9


def test_tables_of_other_origin_are_kept(tmp_path: Path) -> None:
    predicted(tmp_path, "a", odd(), ("csv",), image(odd()))
    out = tmp_path / "out"
    check_tables(out)
    write_tables(out)
    check_tables(out)
    (out / IMAGES).write_text("image,patient\n")
    with pytest.raises(UserError, match=r"images\.csv: is there already.*overwrite=true"):
        check_tables(out)


def test_what_is_there_and_what_is_missing(tmp_path: Path) -> None:
    path = predicted(tmp_path, "a", odd(), ("csv", "labels"), image(odd()))
    out, wanted = tmp_path / "out", ("csv", "geojson", "labels")
    outputs = {path: out / "a"}
    known = done_before([path], outputs, wanted, out)
    assert missing(known[path], out / "a", wanted) == ("geojson",)
    assert missing(None, out / "a", wanted) == wanted
    (out / "a_nuclei.csv").unlink()
    assert missing(known[path], out / "a", wanted) == ("csv", "geojson")
    # A file that is not recorded is of somebody else, or of other settings.
    (out / "a_labels.geojson").touch()
    with pytest.raises(UserError, match=r"a_labels\.geojson: is there already"):
        done_before([path], outputs, wanted, out)
    assert done_before([path], outputs, ("labels",), out)


def test_an_image_that_was_begun_is_done_again(tmp_path: Path) -> None:
    path = predicted(tmp_path, "a", odd(), ("csv", "labels"), image(odd()))
    out, wanted = tmp_path / "out", ("csv", "labels")
    line = earlier.read(out)["a"]
    begun = {key: line[key] for key in ("image", "settings", "saved")}
    earlier.add(out, "a", begun)
    (out / "a_labels.tif").unlink()
    known = done_before([path], {path: out / "a"}, wanted, out)
    assert known[path]["nuclei"] is None and missing(known[path], out / "a", wanted) == wanted


def test_results_of_another_image_are_refused(tmp_path: Path) -> None:
    path = predicted(tmp_path, "a", odd(), ("labels",), image(odd()))
    path.write_bytes(b"other")
    with pytest.raises(UserError, match=r"a_labels\.tif: is there already"):
        done_before([path], {path: tmp_path / "out" / "a"}, ("labels",), tmp_path / "out")
