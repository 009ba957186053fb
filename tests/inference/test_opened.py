"""Files of many pictures through predict: results for each, none lost or overwritten."""

import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile
from support import pictures
from support.lines import Lines

import nucleist
from nucleist.data.formats.channels import Choice
from nucleist.data.formats.label_maps import load_label_map
from nucleist.data.readers.folder import Folder
from nucleist.inference.inputs import find_images
from nucleist.inference.load import Model
from nucleist.inference.opened import Item, items_of
from nucleist.inference.scaling import Trained
from nucleist.models.otsu import otsu
from nucleist.ops.normalize import Percentile
from nucleist.types import UserError

MODEL = Model(otsu("bright"), Percentile(), 0.4, {}, Path("x"), Trained(10, 0.5))


def plane(count: int) -> np.ndarray:
    """`(60, 90)` with so many bright squares."""
    image = np.full((60, 90), 10, np.uint8)
    for number in range(count):
        top, left = divmod(number, 6)
        image[top * 15 + 3 : top * 15 + 11, left * 15 + 3 : left * 15 + 11] = 200
    return image


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """Two planes of two channels; DAPI shows 5 and 7 nuclei, GFP 1 and 2."""
    counts = [[5, 1], [7, 2]]
    pixels = np.stack([np.stack([plane(n) for n in row]) for row in counts])
    metadata = {"axes": "ZCYX", "Channel": {"Name": ["DAPI", "GFP"]}, "PhysicalSizeX": 0.5}
    tifffile.imwrite(tmp_path / "s.ome.tif", pixels, ome=True, metadata=metadata)
    return tmp_path / "s.ome.tif"


def test_each_plane_has_its_own_results(stack: Path, tmp_path: Path) -> None:
    out, lines, choice = tmp_path / "out", Lines(), {"channel": "dapi", "z": "each"}
    found = nucleist.predict(MODEL, stack, out, **choice, progress=lines)
    assert found == {stack: 12}
    assert lines.notes == [f"{stack} z1: 5 nuclei", f"{stack} z2: 7 nuclei"]
    assert [load_label_map(out / f"s.ome_z{z}_labels.tif").max() for z in (1, 2)] == [5, 7]
    assert (out / "s.ome_z2_nuclei.csv").exists() and (out / "s.ome_z1_overlay.png").exists()
    # the same again does nothing, another choice is refused
    again = Lines()
    assert nucleist.predict(MODEL, stack, out, **choice, progress=again) == {stack: 12}
    assert "2 of 2 images have these results already" in again.notes[0]
    with pytest.raises(UserError, match="is there already"):
        nucleist.predict(MODEL, stack, out, channel="GFP", z="each")


def test_one_plane_of_a_file_is_outlined_by_itself(stack: Path) -> None:
    assert len(MODEL.predict(stack, channel=1, z=2)) == 7
    assert len(MODEL.predict(stack, channel="gfp", z="project")) == 2
    with pytest.raises(UserError, match=r"2 pictures \(_z1, _z2, \.\.\.\); nucleist.predict"):
        MODEL.predict(stack, channel=1, z="each")  # type: ignore[arg-type]


def test_a_stack_beside_single_images(stack: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    stack.rename(folder / "s.ome.tif")
    tifffile.imwrite(folder / "a.tif", plane(3))
    (folder / "b.tif").write_bytes(b"II*\0" + bytes(30))
    found = nucleist.predict(MODEL, folder, tmp_path / "out", channel=1, z="each", progress=Lines())
    assert found == {folder / "a.tif": 3, folder / "s.ome.tif": 12}
    assert set(found.failed) == {folder / "b.tif"}
    names = {path.name for path in (tmp_path / "out").glob("*_labels.tif")}
    assert names == {"a_labels.tif", "s.ome_z1_labels.tif", "s.ome_z2_labels.tif"}


def test_an_ome_zarr_is_outlined_and_known_again(tmp_path: Path) -> None:
    path = pictures.ome_zarr(tmp_path / "in" / "a.zarr", "0.5", "cyx")
    assert find_images([tmp_path / "in"], Lines()) == [path] == find_images([path], Lines())
    out = tmp_path / "out"
    count = nucleist.predict(MODEL, tmp_path / "in", out, channel="DAPI", progress=Lines())
    assert (out / "a_labels.tif").exists()
    lines = Lines()
    again = nucleist.predict(MODEL, tmp_path / "in", out, channel="DAPI", progress=lines)
    assert again == count and "1 of 1 images have these" in lines.notes[0]


def test_the_scale_of_a_file_is_used_where_it_is_asked_for(stack: Path, tmp_path: Path) -> None:
    model, lines = Model(MODEL.net, MODEL.normalize, 0.4, {}, Path("x"), Trained(10, 0.25)), Lines()
    choice = {"channel": 1, "z": 1, "progress": lines}
    nucleist.predict(model, stack, tmp_path / "1", **choice)
    assert "0.5 um a pixel, in training 0.25; pixel_size=auto" in lines.warnings[0]
    found = nucleist.predict(model, stack, tmp_path / "2", **choice, pixel_size="auto")
    assert found == {stack: 5} and "rescaled by 2 (0.5 um a pixel" in lines.notes[1]
    assert load_label_map(tmp_path / "2" / "s.ome_labels.tif").shape == (60, 90)
    with pytest.raises(UserError, match="is there already"):
        nucleist.predict(model, stack, tmp_path / "2", **choice, diameter=20)


def test_files_are_looked_into_only_where_they_may_hold_several(stack: Path) -> None:
    gone = stack.with_name("gone.tif")
    assert items_of([gone, stack]) == [Item(gone), Item(stack)]
    found = items_of([gone, stack], Choice(1, "each"))
    assert [one.suffix for one in found] == ["", "_z1", "_z2"]
    assert str(found[1]) == f"{stack} z1" and found[1].stem == "s.ome_z1"


def test_a_corrected_plane_becomes_an_image_of_its_own(stack: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    choice = {"channel": "dapi", "z": "each", "save": "labels,coco,csv"}
    nucleist.predict(MODEL, stack, out, **choice, progress=Lines())
    with (out / "images.csv").open() as file:
        assert [row["image"] for row in csv.DictReader(file)] == ["s.ome_z1.tif", "s.ome_z2.tif"]
    found = nucleist.import_corrections(out, "coco", tmp_path / "set", progress=Lines())
    assert found.kept == 12 and set(found.images) == {"s.ome_z1.png", "s.ome_z2.png"}
    for name, expected in (("s.ome_z1", plane(5)), ("s.ome_z2", plane(7))):
        record = Folder(found.folder).read(name)
        np.testing.assert_array_equal(record.image[..., 0], expected)
        assert record.labels.max() == (5 if name.endswith("1") else 7)
