"""Images of several channels and planes: one is chosen, or the image is named with what it has."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from support.lines import Lines

import nucleist
from nucleist.cli.main import main
from nucleist.data.formats.label_maps import load_label_map
from nucleist.types import UserError

pytestmark = pytest.mark.slow


@pytest.fixture
def hyperstack(tmp_path: Path) -> Path:
    """Two planes of two channels; the first channel is dark."""
    pixels = np.random.default_rng(0).integers(0, 200, (2, 2, 50, 70)).astype(np.uint8)
    pixels[:, 0] //= 20
    path = tmp_path / "several.tif"
    tifffile.imwrite(path, pixels, imagej=True, metadata={"axes": "ZCYX"})
    return path


def test_the_chosen_channel_and_plane_are_outlined(canonical: Path, hyperstack: Path) -> None:
    model, out = nucleist.load(canonical, device="cpu"), hyperstack.parent / "out"
    plane = tifffile.imread(hyperstack)[1, 1]
    nucleist.predict(model, hyperstack, out, channel=2, z=2, progress=Lines())
    expected = model.predict(plane).labels
    assert expected.max() > 0
    np.testing.assert_array_equal(load_label_map(out / "several_labels.tif"), expected)
    with pytest.raises(UserError, match="there already"):
        nucleist.predict(model, hyperstack, out, channel=2, z="project", progress=Lines())


def test_without_a_choice_the_image_is_named(
    canonical: Path, hyperstack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", str(canonical), str(hyperstack), "-o", str(hyperstack.parent / "out")]
    assert main(words) == 2
    assert "several planes (axes ZCYX, 2 x 2 x 50 x 70): a stack of 2; write z=project" in (
        capsys.readouterr().err
    )
    assert main([*words, "z=project"]) == 2
    assert "1 has 0 to 9, 2 has 7 to 199; write channel=N for the one" in capsys.readouterr().err
    assert main([*words, "z=project", "channel=2"]) == 0
    words[-1] += "_blue"
    assert main([*words, "z=project", "channel=blue"]) == 2
    assert "channel=blue: write a number from 1, or channel=rgb" in capsys.readouterr().err


def test_a_picture_of_several_colours_without_nuclei_gets_the_word(
    canonical: Path, tmp_path: Path
) -> None:
    generator, lines = np.random.default_rng(0), Lines()
    colors = generator.integers(0, 90, (60, 70, 3)).astype(np.uint8)
    colors[20:30, 20:32, 2] = colors[40:50, 40:52, 2] = 250
    Image.fromarray(colors).save(tmp_path / "merge.png")
    nucleist.predict(
        canonical, tmp_path / "merge.png", tmp_path / "out", score_threshold=1.0, progress=lines
    )
    assert "if one colour shows the nuclei, write channel=1 (red), 2 or 3" in lines.warnings[0]
