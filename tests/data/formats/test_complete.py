"""`complete.csv`: what is written is read back, as other programs write it, and what is wrong."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.areas import areas

from nucleist.data.complete import complete_of, mask_of
from nucleist.data.formats.complete import (
    Row,
    area_of,
    is_region,
    read_complete,
    write_complete,
)
from nucleist.types import UserError, Window

SHAPE = (7, 9)
HEADER = "image,x,y,width,height"


def read(text):
    return read_complete(text.encode(), "dir/complete.csv")


NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1).filter(str.strip)


@given(st.dictionaries(NAMES, areas(SHAPE), max_size=4))
@settings(max_examples=50, deadline=None)
def test_what_is_written_is_read_back(tmp_path_factory, given_areas):
    path = tmp_path_factory.mktemp("x") / "complete.csv"
    write_complete(path, given_areas)
    rows = read_complete(path.read_bytes(), str(path))
    assert {row.image.strip(" ") for row in rows} == {
        name.strip(" ") for name, area in given_areas.items() if area is not False
    }
    for name, area in given_areas.items():
        alike = [n for n in given_areas if n.strip(" ") == name.strip(" ")]
        own = [row for row in rows if row.image.strip(" ") == name.strip(" ")]
        if alike == [name]:
            assert area_of(own, SHAPE, str(path)) == area


WANTED = [Row("a.tif", Window(4, 3, 10, 8), 2), Row("b", None, 3)]


@pytest.mark.parametrize(
    "text",
    [
        "image,x,y,width,height\na.tif,3,4,5,6\nb,,,,\n",
        "image,x,y,width,height\na.tif,3,4,5,6\nb\n",
        "image;x;y;width;height\r\na.tif;3;4;5;6\r\nb;;;;\r\n",
        "\ufeffimage\tx\ty\twidth\theight\na.tif\t3\t4\t5\t6\nb\n",
        " Image , X, Y,Width ,HEIGHT\n a.tif , 3 , 4 ,5, 6\nb, , , , \n",
        '"image","x","y","width","height"\n"a.tif","3","4","5","6"\n"b","","","",""',
        "image,x,y,width,height\na.tif,3.0,4.0,5.0,6.0\nb,,,,\n",
        "image,height,width,y,x,by whom\na.tif,6,5,4,3,me\nb,,,,,\n",
        "image,x,y,width,height\na.tif,3,4,5,6,,\nb,,,,,,\n",
    ],
    ids=["plain", "short", "semicolon", "BOM", "spaces", "quotes", "floats", "order", "commas"],
)
def test_tables_of_other_programs(text):
    rows = read(text)
    assert [row._replace(image=row.image.strip()) for row in rows] == WANTED


def test_quoted_names_and_lines_that_are_empty():
    rows = read(f'{HEADER}\n\n"a, b",1,2,3,4\n,,,,\n"say ""x""",,,,\n')
    assert [(row.image, row.line) for row in rows] == [("a, b", 3), ('say "x"', 5)]
    assert read("image\na\nb, c\n".replace(",", "")) == [Row("a", None, 2), Row("b c", None, 3)]
    assert read("") == read("\n \n") == read(HEADER) == []


def test_rows_are_joined_and_cut_to_the_image():
    rows = read(f"{HEADER}\na,-2,1,4,2\na,0,2,2,50\n")
    wanted = np.zeros(SHAPE, bool)
    wanted[1:3, :2] = wanted[2:, :2] = True
    assert area_of(rows, SHAPE, "x") == complete_of(wanted) == (Window(1, 0, 7, 2),)
    assert area_of([*rows, Row("a", None, 9)], SHAPE, "x") is True
    assert area_of([], SHAPE, "x") is False


@given(st.lists(st.tuples(*[st.integers(-3, 12)] * 2, *[st.integers(1, 12)] * 2), max_size=5))
@settings(max_examples=50, deadline=None)
def test_any_rectangles_are_those_pixels(boxes):
    rows = [Row("a", Window(y, x, y + h, x + w), i) for i, (y, x, h, w) in enumerate(boxes)]
    wanted = np.zeros(SHAPE, bool)
    for y, x, h, w in boxes:
        wanted[max(y, 0) : max(y + h, 0), max(x, 0) : max(x + w, 0)] = True
    if any(y >= 7 or x >= 9 or y + h <= 0 or x + w <= 0 for y, x, h, w in boxes):
        with pytest.raises(UserError, match="lies outside the 7 x 9 pixels"):
            area_of(rows, SHAPE, "x")
    else:
        np.testing.assert_array_equal(mask_of(area_of(rows, SHAPE, "x"), SHAPE), wanted)


def test_a_rectangle_outside_the_image_is_told_with_its_line():
    with pytest.raises(UserError, match=r"^c\.csv: line 3: x=9, y=0, width=2, height=1 lies"):
        area_of(read(f"{HEADER}\na\na,9,0,2,1\n"), SHAPE, "c.csv")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a.tif,1,2,3,4\n", "the first line is 'a.tif,1,2,3,4'"),
        ("image,x,y,width\na,1,2,3\n", "the first line is"),
        ("name\na\n", "the first line is"),
        (f"{HEADER}\na,1,2,3,x\n", "line 2: 'x' is not a whole number"),
        (f"{HEADER}\na,1,2,3.5,4\n", "line 2: '3.5' is not a whole number"),
        (f"{HEADER}\na,1,2,,4\n", "line 2: '' is not a whole number"),
        (f"{HEADER}\na,1,2,3,{10**30}\n", "line 2: '1000"),
        (f"{HEADER}\na,1,2,0,4\n", "line 2: width=0, height=4 is no area"),
        (f"{HEADER}\na,1,2,3,-4\n", "line 2: width=3, height=-4 is no area"),
        (f"{HEADER}\n,1,2,3,4\n", "line 2 names no image"),
        (f"{HEADER}\na, b,1,2,3,4\n", "line 2 has more cells"),
        (f'{HEADER}\n"a,1,2,3,4\n', "no table in UTF-8"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(text, said):
    with pytest.raises(UserError) as told:
        read(text)
    line = str(told.value)
    assert line.startswith(f"dir/complete.csv: {said}") and "\n" not in line and "; " in line


@pytest.mark.parametrize(
    "data", [b"\xff\xfe\x00", b"PK\x03\x04\xff", HEADER.encode() + b"\n\xe4,,"]
)
def test_other_files_are_told_in_one_line(data):
    with pytest.raises(UserError, match=r"^x: no table in UTF-8 [^\n]*; [^\n]*$"):
        read_complete(data, "x")


def test_names_of_regions():
    yes = (
        "complete",
        "Complete",
        "COMPLETE",
        " complete ",
        "complete-1",
        "complete_12",
        "complete 3",
    )
    assert all(map(is_region, yes))
    assert not any(
        map(is_region, ("incomplete", "completed", "complete?", "complete-a", "", None, 1))
    )
