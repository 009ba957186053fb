"""A folder of images with several channels and planes: the choice is a setting of the reader."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from nucleist.cli.main import main
from nucleist.data import Folder
from nucleist.data.caches import Prepared
from nucleist.types import UserError

STACK = np.random.default_rng(0).integers(1, 4000, (3, 2, 24, 32)).astype(np.uint16)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two hyperstacks with labels."""
    labels = np.zeros((24, 32), np.uint8)
    labels[4:12, 4:12], labels[14:20, 15:30] = 1, 2
    for name in ("a", "b"):
        tifffile.imwrite(tmp_path / f"{name}.tif", STACK, imagej=True, metadata={"axes": "ZCYX"})
        tifffile.imwrite(tmp_path / f"{name}_labels.tif", labels)
    return tmp_path


def test_the_chosen_plane_is_read(root: Path) -> None:
    one = Folder(root, channel=2, z=3).read("a").image
    np.testing.assert_array_equal(one, np.repeat(STACK[2, 1][..., None], 3, 2))
    largest = Folder(root, channel=1, z="project").read("a").image
    np.testing.assert_array_equal(largest[..., 0], STACK[:, 0].max(0))
    with pytest.raises(UserError, match=r"a.tif: several planes .*data.source.z="):
        Folder(root).read("a")
    with pytest.raises(UserError, match=r"a.tif: several channels .*data.source.channel=N"):
        Folder(root, z=1).read("a")


def test_another_choice_is_another_cache(root: Path) -> None:
    folders = {
        Prepared(Folder(root, channel=channel, z=z), root / "cache").folder
        for channel in (None, 1, 2)
        for z in (None, 1, "project")
    }
    assert len(folders) == 9


def test_what_is_no_choice_is_refused_at_once(root: Path) -> None:
    with pytest.raises(UserError, match="channel=0: write a number from 1, or channel=rgb"):
        Folder(root, channel=0)


@pytest.mark.slow
def test_the_settings_reach_the_reader(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data", "check", str(root)]
    assert main(words) == 2
    assert "a stack of 3; write z=project" in "".join(capsys.readouterr())
    assert main([*words, "data.source.channel=2", "data.source.z=project"]) == 0
