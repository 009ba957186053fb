"""Pictures: the right colours at the right pixels."""

import os
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from nucleist.plots import contours, overlay
from nucleist.plots.overlay import (
    LabelledImage,
    contact_sheet,
    draw_contours,
    overlay_panel,
    save_overlays,
    to_display,
)
from nucleist.types import UserError

TRUTH, PREDICTION = contours.CONTOURS["truth"], contours.CONTOURS["prediction"]
GRAY = overlay.GRAY_ON_DARK
RED = (255, 0, 0)


def two_touching():
    """A dark 32-px image with squares of 8 px at columns 4-11 (label 1) and 12-19 (label 2)."""
    labels = np.zeros((32, 32), np.int32)
    labels[10:18, 4:12] = 1
    labels[10:18, 12:20] = 2
    return np.where(labels > 0, 40, 10).astype(np.uint8), labels


def load(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def colors(picture):
    return Counter(map(tuple, picture.reshape(-1, 3).tolist()))


def test_contours_run_inside_and_keep_touching_nuclei_apart():
    image, labels = two_touching()
    base = to_display(image)
    before = base.copy()
    drawn = draw_contours(base, labels, RED)
    # the rim of an 8-px square: 64 - 36 pixels, for each of the two, also where they touch
    rim = np.zeros_like(labels, bool)
    for left in (4, 12):
        rim[10:18, left : left + 8] = True
        rim[11:17, left + 1 : left + 7] = False
    np.testing.assert_array_equal((drawn == RED).all(-1), rim)
    np.testing.assert_array_equal(drawn[~rim], base[~rim])
    np.testing.assert_array_equal(base, before)


def test_thick_contours_grow_inwards_and_small_nuclei_fill_up():
    image, labels = two_touching()
    labels[0, 31] = 3  # one pixel, in the corner
    drawn = (draw_contours(to_display(image), labels, RED, thick=2) == RED).all(-1)
    assert drawn.sum() == 2 * (64 - 16) + 1
    assert not drawn[labels == 0].any() and drawn[0, 31]


def test_the_border_of_the_image_closes_a_contour():
    labels = np.ones((6, 5), int)  # the nucleus is all there is
    drawn = (draw_contours(np.zeros((6, 5, 3), np.uint8), labels, RED) == RED).all(-1)
    assert drawn.sum() == 30 - 12 and not drawn[1:5, 1:4].any()


def test_each_label_has_its_own_colour():
    image, labels = two_touching()
    drawn = draw_contours(to_display(image), labels)
    assert tuple(drawn[10, 4]) == contours.INSTANCE_COLORS[0]
    assert tuple(drawn[10, 12]) == contours.INSTANCE_COLORS[1]
    again = draw_contours(to_display(image), labels + 6 * (labels > 0))  # six colours in turn
    np.testing.assert_array_equal(again, drawn)


def test_well_exposed_pictures_stay_as_they_are():
    rgb = np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8)
    np.testing.assert_array_equal(to_display(rgb), rgb)
    assert not np.shares_memory(to_display(rgb), rgb)
    rgba = np.concatenate([rgb, np.zeros((8, 9, 1), np.uint8)], 2)
    np.testing.assert_array_equal(to_display(rgba), rgb)


@pytest.mark.parametrize("scale", [np.uint8(1), np.uint16(200), np.float32(1e-4)])
def test_dark_deep_and_float_images_are_stretched_alike(scale):
    ramp = np.arange(101).reshape(1, 101)
    display = to_display(ramp.astype(scale.dtype) * scale, 0, 100)
    expected = np.round(2.55 * np.arange(101))
    assert display.shape == (1, 101, 3) and display.dtype == np.uint8
    assert np.abs(display[0] - expected[:, None]).max() <= 1


def test_hues_survive_the_stretch_and_odd_values_do_not_spoil_it():
    red = np.zeros((10, 10, 3), np.float32)
    red[5:, :, 0] = 0.1
    red[0, 0] = np.nan, np.inf, 0
    display = to_display(red)
    assert display[9, 9].tolist() == [255, 0, 0] and display[0, 0].tolist() == [0, 0, 0]
    assert to_display(np.full((3, 3), 7, np.uint16)).max() == 0  # flat is black
    assert to_display(np.full((3, 3), np.nan, np.float32)).max() == 0


@pytest.mark.parametrize("shape", [(4,), (4, 4, 2), (2, 4, 4, 3), (0, 4)])
def test_what_is_not_an_image_is_refused(shape):
    with pytest.raises(ValueError, match="Expected an"):
        to_display(np.zeros(shape))


def test_panels_of_a_row_hold_what_their_captions_say():
    image, labels = two_touching()
    kept = np.where(labels == 1, 1, 0)
    prediction = torch.from_numpy(np.roll(labels, 1, axis=0))
    row = overlay_panel(image, kept, torch.from_numpy(labels), prediction, "a title", side=32)
    step, head = 32 + overlay.GAP, row.shape[0] - 32 - overlay.GAP
    assert row.shape[1] == overlay.GAP + 4 * step
    plain, first, second, third = (
        row[head : head + 32, overlay.GAP + i * step :][:, :32] for i in range(4)
    )
    np.testing.assert_array_equal(plain, to_display(image))
    # kept: label 1 outlined in its colour and tinted inside, label 2 thin and gray, not tinted
    assert tuple(first[10, 4]) == contours.INSTANCE_COLORS[0]
    assert (first[14, 8] != plain[14, 8]).any() and tuple(first[10, 19]) == GRAY
    np.testing.assert_array_equal(first[14, 16], plain[14, 16])
    np.testing.assert_array_equal(second, draw_contours(plain, labels, TRUTH))
    np.testing.assert_array_equal(third, draw_contours(plain, prediction.numpy(), PREDICTION))
    assert (row[:head] != 255).any()  # words


def test_small_images_grow_by_whole_pixels_with_thin_contours():
    image, labels = two_touching()
    row = overlay_panel(image, truth=labels, side=100)  # 3 times
    assert row.shape[1] == overlay.GAP + 2 * (96 + overlay.GAP)
    panel = row[-overlay.GAP - 96 : -overlay.GAP, -overlay.GAP - 96 : -overlay.GAP]
    hit = (panel == TRUTH).all(-1)
    # 24-px squares now: rims of 24 * 24 - 22 * 22 pixels, one pixel thin
    assert hit.sum() == 2 * (24 * 24 - 22 * 22)
    assert hit[30, 12:60].all() and not hit[29].any() and not hit[31, 13:35].any()
    large = overlay_panel(image, truth=labels, side=128)  # 4 times: two pixels thick
    assert colors(large)[TRUTH] == 2 * (32 * 32 - 28 * 28)


def test_large_images_shrink_and_their_contours_stay_whole():
    labels = np.zeros((200, 400), np.int32)
    labels[80:120, 40:80] = 9
    row = overlay_panel(np.zeros((200, 400), np.uint8), truth=labels, side=100)  # 4 times smaller
    assert row.shape[1] == overlay.GAP + 2 * (100 + overlay.GAP)
    assert colors(row)[TRUTH] == 10 * 10 - 8 * 8


def test_a_page_aligns_rows_and_leaves_out_columns_that_nobody_has(tmp_path):
    image, labels = two_touching()
    rows = [
        LabelledImage(image, truth=labels, title="first"),
        LabelledImage(image[:, :16], prediction=labels[:, :16]),
    ]
    save_overlays(tmp_path / "new" / "page.png", rows, side=32)
    assert os.listdir(tmp_path / "new") == ["page.png"]
    page, step = load(tmp_path / "new" / "page.png"), 32 + overlay.GAP
    assert page.shape[1] == overlay.GAP + 3 * step  # image, truth, prediction; no kept labels
    # rows: title and captions, 32 px, captions, 32 px (narrower: it grew to the same height)
    second = overlay.GAP + 2 * overlay.LINE + 32 + overlay.GAP + overlay.LINE
    assert page.shape[0] == second + 32 + overlay.GAP
    truth = page[:, overlay.GAP + step :][:, :32]
    assert colors(truth[:second])[TRUTH] == 56 and TRUTH not in colors(truth[second:])
    empty = truth[second : second + 32, :16]
    assert (empty == 235).all()
    assert PREDICTION in colors(page[second:, overlay.GAP + 2 * step :])


def test_a_contact_sheet_shows_kept_labels_in_colour_and_the_rest_in_gray(tmp_path):
    image, labels = two_touching()
    items = [
        LabelledImage(image, np.where(labels == 2, 2, 0), labels, title="x" * 200),
        LabelledImage(image, None, labels, title="all kept"),
        LabelledImage(image, title="none"),
    ]
    contact_sheet(tmp_path / "sheet.png", items, columns=2, side=64)
    page = load(tmp_path / "sheet.png")
    height, width = 64 + 2 * overlay.LINE + overlay.GAP, 64 + overlay.GAP
    assert page.shape == (2 * height + overlay.GAP, 2 * width + overlay.GAP, 3)
    one, two = contours.INSTANCE_COLORS[:2]
    # thumbnails end at row 10 + 64; squares of 16 px: rims of 256 - 196 = 60 pixels
    first, second = colors(page[:74, :width]), colors(page[:74, width:])
    assert (first[GRAY], first[one], first[two]) == (60, 0, 60)
    assert (second[GRAY], second[one], second[two]) == (0, 60, 60)
    third = colors(page[height : height + 74, :width])
    assert GRAY not in third and one not in third
    # a long name is shortened to its own thumbnail
    words = page[overlay.GAP + 64 : height, : width + overlay.GAP]
    assert (words[:, : overlay.GAP - 2] == 255).all() and (words[:, -overlay.GAP :] == 255).all()


def test_bad_calls_are_refused_and_leave_nothing(tmp_path):
    image, labels = two_touching()
    with pytest.raises(ValueError, match=r"labels of shape \(32, 32\), but got \(32, 31\)"):
        save_overlays(tmp_path / "a.png", [LabelledImage(image, truth=labels[:, 1:])])
    with pytest.raises(ValueError, match="at least one row"):
        save_overlays(tmp_path / "a.png", [])
    with pytest.raises(ValueError, match="0 and 5"):
        contact_sheet(tmp_path / "a.png", [])
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        save_overlays(tmp_path / "file" / "a.png", [LabelledImage(image)])
    assert os.listdir(tmp_path) == ["file"]
