"""`groups.csv`: read back, written by other programs, and damaged."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleist.data.formats.groups import Row, read_groups, write_groups
from nucleist.types import UserError

text = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), min_size=1).filter(
    lambda value: value == value.strip() and value.strip("﻿")
)


@given(st.dictionaries(text, text, max_size=5))
@settings(max_examples=40, deadline=None)
@pytest.mark.slow
def test_groups_are_read_back(tmp_path_factory, groups):
    path = tmp_path_factory.mktemp("groups") / "groups.csv"
    write_groups(path, groups)
    rows = read_groups(path.read_bytes(), "groups.csv")
    assert {row.image: row.group for row in rows} == groups


def test_tables_of_other_programs():
    data = "\ufeffslide; Group ;image\r\nx;p 1;a.tif\r\n\r\ny;p 2;b.tif\r\n".encode()
    assert read_groups(data, "g") == [Row("a.tif", "p 1", 2), Row("b.tif", "p 2", 4)]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "first line"),
        (b"image,patient\na,1\n", "image,patient"),
        (b"image,group\na\n", "line 2"),
        (b"image,group\na,1\n,2\n", "line 3"),
        (b"\xff\xfe", "UTF-8"),
    ],
)
def test_damaged_tables(data, words):
    with pytest.raises(UserError, match=words) as told:
        read_groups(data, "groups.csv")
    assert str(told.value).startswith("groups.csv: ") and "image,group" in str(told.value)
