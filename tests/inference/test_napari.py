"""What napari is told and given, headless: the manifest, the reader, the widget's function."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from support.outlined import KINDS, odd, result

import nucleist
from nucleist.data.pictures.picture import ArrayPicture
from nucleist.inference.napari import get_reader, outline_layer
from nucleist.inference.save import paths_of, write_result
from nucleist.types import UserError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pydantic's about npe2
    from npe2 import PluginManager, PluginManifest
    from npe2.io_utils import read

MANIFEST = Path(nucleist.__file__).with_name("napari.yaml")


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> PluginManager:
    """napari's manager of plugins, with this one alone."""
    found = PluginManager()
    found.register(PluginManifest.from_file(MANIFEST))
    monkeypatch.setattr(PluginManager, "instance", lambda: found)
    return found


def written(folder: Path, save: tuple[str, ...], labels: np.ndarray | None = None) -> Path:
    labels = odd() if labels is None else labels
    pixels = np.random.default_rng(0).integers(0, 99, (*labels.shape, 3), np.uint8)
    write_result(result(labels), ArrayPicture(pixels, "a.png"), paths_of(folder / "a", save))
    return folder


def test_the_manifest_is_valid_and_names_functions_that_are_there() -> None:
    manifest = PluginManifest.from_file(MANIFEST)
    manifest.validate_imports()
    assert manifest.name == "nucleist"


@pytest.mark.parametrize("form", ["labels", "zarr"])
def test_napari_reads_labels_with_their_features(
    tmp_path: Path, manager: PluginManager, form: str
) -> None:
    path = paths_of(written(tmp_path, ("csv", form)) / "a", (form,))[form]
    ((data, settings, kind),) = read([str(path)], stack=False)
    assert kind == "labels" and settings["name"] == "a nuclei"
    np.testing.assert_array_equal(data, odd())
    features = settings["features"]
    np.testing.assert_array_equal(features["index"], list(KINDS.values()))
    np.testing.assert_array_equal(features["label"], features["index"])
    areas = [np.count_nonzero(odd() == label) for label in KINDS.values()]
    np.testing.assert_allclose(features["area_px"], areas)
    assert np.isnan(features["circularity"][KINDS["one pixel"] - 1])


def test_labels_without_a_table_or_without_nuclei(tmp_path: Path) -> None:
    path = paths_of(written(tmp_path, ("labels",)) / "a", ("labels",))["labels"]
    reader = get_reader(path)
    assert reader is not None and reader(path)[0][1]["features"] == {}
    written(tmp_path, ("csv", "labels"), np.zeros((8, 8), np.int32))
    assert reader([path])[0][1]["features"]["index"].shape == (0,)


def test_other_files_are_left_to_others(tmp_path: Path) -> None:
    assert get_reader(str(tmp_path / "a.tif")) is None
    assert get_reader([tmp_path / "a_labels.tif", tmp_path / "b.tif"]) is None
    assert get_reader([]) is None
    (tmp_path / "a_labels.tif").touch()
    reader = get_reader(tmp_path / "a_labels.tif")
    assert reader is not None
    with pytest.raises(UserError, match="empty file"):
        reader(tmp_path / "a_labels.tif")


@dataclass
class Layer:
    """The attributes of napari's image layer that the widget looks at."""

    data: object
    name: str = "cells"
    rgb: bool = False
    multiscale: bool = False


@pytest.mark.slow
def test_the_widget_outlines_an_image_layer(canonical: Path, manager: PluginManager) -> None:
    pixels = np.random.default_rng(0).integers(0, 200, (50, 70, 4), np.uint8)
    wanted = nucleist.load(canonical, device="cpu").predict(pixels[..., :3])
    outline = manager.commands.get("nucleist.outline")
    assert outline is outline_layer
    for layer in (Layer(pixels, rgb=True), Layer([pixels, pixels[::2]], "cells", True, True)):
        labels, settings, kind = outline(layer, canonical)
        assert kind == "labels" and settings["name"] == "cells nuclei"
        np.testing.assert_array_equal(labels, wanted.labels)
        assert len(settings["features"]["index"]) == len(wanted) > 3
        assert "channel_3_mean" in settings["features"]
    labels, settings, _ = outline(Layer(pixels[..., 0]), canonical, False, 1.0)
    assert not labels.any() and len(settings["features"]["index"]) == 0
