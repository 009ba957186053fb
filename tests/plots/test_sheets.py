"""Contact sheets of data sets."""

import numpy as np
import pytest
from PIL import Image
from support.sources import InMemory, grid

from nucleist.plots.sheets import show_data_set
from nucleist.types import UserError


def coloured(path):
    """Pixels that are not gray."""
    return int((np.ptp(np.asarray(Image.open(path).convert("RGB")).astype(int), 2) > 30).sum())


def test_hidden_labels_are_gray_and_test_labels_all_in_colour(tmp_path):
    source = InMemory([grid(*range(1, 9))], [grid(*range(1, 9))])
    sheets = {
        "all": show_data_set(source, tmp_path / "all.png"),
        "few": show_data_set(source, tmp_path / "few.png", overrides={"data": {"exemplars": 2}}),
        "test": show_data_set(
            source, tmp_path / "test.png", "test", overrides=["data.exemplars=2"]
        ),
    }
    found = {name: coloured(path) for name, path in sheets.items()}
    assert 0 < found["few"] < found["all"] / 2
    assert found["test"] == found["all"]


def test_an_earlier_sheet_stays(tmp_path):
    source, path = InMemory([grid(1)]), tmp_path / "a.png"
    show_data_set(source, path)
    before = path.read_bytes()
    with pytest.raises(UserError, match="is there already"):
        show_data_set(source, path)
    assert show_data_set(source, path, overwrite=True).read_bytes() == before


@pytest.mark.parametrize(
    ("options", "words"),
    [({"images": 0}, "images=0: give 1"), ({"split": "tset"}, "'tset'; there is train")],
)
def test_bad_options_are_told_in_one_line(tmp_path, options, words):
    with pytest.raises(UserError, match=words):
        show_data_set(InMemory([grid(1)]), tmp_path / "a.png", **options)
    with pytest.raises(UserError, match=r"ends in \.png"):
        show_data_set("synthetic", tmp_path / "a.jpg")
