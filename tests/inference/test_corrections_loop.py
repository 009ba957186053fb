"""16-bit TIFFs with ImageJ ROIs: trained on, outlined, corrected in Fiji, and trained on again."""

import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml
from roifile import ROI_OPTIONS, ImagejRoi, roiread, roiwrite
from skimage.draw import disk
from support.annotations import ring
from support.lines import Lines
from support.runs import NET

import nucleist
from nucleist.data import Folder
from nucleist.inference import earlier

PLACES = ((16, 16), (16, 46), (46, 16), (46, 46))
SETTINGS = [*NET, "trainer=cpu", "data.batch_size=2", "augment.crop=48", "data.workers=0"]
SETTINGS += ["model.roi.detections_per_img=8"]
EDITED = 5


def microscope(folder: Path) -> Path:
    """Two 16-bit images of four bright discs, each disc a selection of ImageJ."""
    rng = np.random.default_rng(0)
    for name in "ab":
        image = rng.integers(900, 1400, (64, 64)).astype(np.uint16)
        for y, x in PLACES:
            image[disk((y, x), 8, shape=image.shape)] += 20_000
        folder.mkdir(exist_ok=True)
        tifffile.imwrite(folder / f"{name}.tif", image)
        rois = [ImagejRoi.frompoints(np.array(ring(x, y))) for y, x in PLACES]
        roiwrite(folder / f"{name}.zip", rois, mode="w")
    return folder


def edited(path: Path) -> list[int]:
    """Draw five outlines anew by roifile, as a person does in Fiji; their labels."""
    rois = roiread(path)
    assert len(rois) >= EDITED
    for number, (x, y) in enumerate(((10, 10), (32, 10), (54, 10), (10, 54), (32, 54))):
        new = ImagejRoi.frompoints(np.array(ring(x, y, 6)), name=rois[number].name)
        new.options |= ROI_OPTIONS.SPLINE_FIT
        new.props = rois[number].props  # ImageJ keeps them
        rois[number] = new
    roiwrite(path, rois, mode="w")
    return [int(roi.name.removeprefix("nucleus_")) for roi in rois[:EDITED]]


@pytest.mark.slow
def test_five_outlines_are_corrected_and_trained_on(tmp_path: Path) -> None:
    images, results, target = microscope(tmp_path / "images"), tmp_path / "out", tmp_path / "set"
    train = {"progress": Lines(), "runs": tmp_path / "runs"}
    run = nucleist.train(images, overrides=[*SETTINGS, "steps=2", "val_every=2"], **train)
    paths = sorted(images.glob("*.tif"))
    save = ("imagej", "labels", "csv")
    nucleist.predict(run, paths, results, score_threshold=0.0, save=save, progress=Lines())
    numbers = edited(results / "a_rois.zip")
    found = nucleist.import_corrections(results, "imagej", target)
    assert (found.moved, found.added, found.rejected) == (EDITED, 0, 0)
    with (target / "corrections.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    moved = [(row["image"], int(row["label"])) for row in rows if row["state"] == "moved"]
    assert moved == [("a.tif", number) for number in numbers]
    assert {row["origin"] for row in rows if row["state"] == "kept"} == {"model"}
    about = yaml.safe_load((target / "corrections.yaml").read_text())["images"]["a.tif"]
    assert about["image"] == earlier.image_hash(paths[0])
    again = Folder(target).read("a")
    assert again.image.dtype == np.uint16
    np.testing.assert_array_equal(again.image[..., 0], tifffile.imread(paths[0]))
    second = nucleist.train(
        target, overrides=[*SETTINGS, "steps=1", "val_every=1", f"weights={run}"], **train
    )
    assert (second / "summary.json").exists()
