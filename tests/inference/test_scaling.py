"""Images at the scale of the training: by how much, what is said, and nuclei on their own grid."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.lines import Lines

from nucleist.data.pictures.picture import ArrayPicture
from nucleist.data.pictures.rescaled import Rescaled
from nucleist.inference.load import Model
from nucleist.inference.own_grid import covering, on_own_grid, outline_window, seen_of
from nucleist.inference.scaling import Scaling, Trained, at_scale, trained_scale
from nucleist.models.otsu import otsu
from nucleist.ops.normalize import FullRange
from nucleist.types import UserError, Window

TRAINED = Trained(16.0, 0.5)


def discs(radius: float, step: int, shape: tuple[int, int] = (200, 280)) -> np.ndarray:
    """Bright discs on a grid, `(H, W, 3)` `uint8`; their middles are `step / 2` plus steps."""
    rows, columns = (np.arange(side) + 0.5 for side in shape)
    apart = [np.abs((axis % step) - step / 2) for axis in (rows, columns)]
    inside = apart[0][:, None] ** 2 + apart[1] ** 2 < radius**2
    return np.repeat(np.where(inside, 200, 10).astype(np.uint8)[..., None], 3, 2)


def model(trained: Trained = TRAINED, **options: object) -> Model:
    return Model(otsu("bright", **options), FullRange(), 0.4, {}, Path("x"), trained)


@pytest.mark.parametrize("asked", [{"diameter": 32}, {"pixel_size": 0.25}])
def test_images_are_rescaled_to_the_training_and_this_is_said(asked: dict) -> None:
    lines = Lines()
    picture = ArrayPicture(discs(10, 40), "a.tif")
    found = at_scale(picture, Scaling(**asked), TRAINED, lines)
    assert isinstance(found, Rescaled) and (found.height, found.width) == (100, 140)
    assert picture.pixel_size == asked.get("pixel_size")
    (line,) = lines.notes
    assert line.startswith("a.tif: rescaled by 0.5 (") and "200 x 280 px to 100 x 140" in line


def test_the_file_says_how_wide_its_pixels_are() -> None:
    picture = ArrayPicture(discs(10, 40), "a.tif", pixel_size=1.0)
    found = at_scale(picture, Scaling(pixel_size="auto"), TRAINED, Lines())
    assert found.height == 400
    near = ArrayPicture(discs(10, 40), "a.tif", pixel_size=0.505)
    lines = Lines()
    assert at_scale(near, Scaling(pixel_size="auto"), TRAINED, lines) is near
    assert "not rescaled" in lines.notes[0]


def test_with_both_the_diameter_decides_and_measurements_have_the_pixel_size() -> None:
    picture = ArrayPicture(discs(10, 40), "a.tif", pixel_size=1.0)
    found = at_scale(picture, Scaling(32, 0.1), TRAINED, Lines())
    assert found.height == 100 and picture.pixel_size == 0.1


def test_a_scale_that_differs_is_said_once() -> None:
    lines = Lines()
    for _ in range(3):
        picture = ArrayPicture(discs(10, 40), "a.tif", pixel_size=0.25)
        assert at_scale(picture, Scaling(), TRAINED, lines) is picture
    (line,) = lines.warnings
    assert line.startswith("a.tif: 0.25 um a pixel, in training 0.5; pixel_size=auto rescales it")


@pytest.mark.parametrize(
    ("asked", "trained", "message"),
    [
        ({"diameter": 9}, Trained(), "diameter=9: the model does not say how large its nuclei"),
        ({"pixel_size": 0.5}, Trained(16), "pixel_size=0.5: the pixel size of the training is not"),
        ({"pixel_size": "auto"}, TRAINED, "a.tif: does not say how wide its pixels are; write pix"),
        ({"diameter": 9}, Trained(16, None, 512), "a.tif: this net resizes every image to a short"),
        ({"diameter": 0.5}, TRAINED, "a.tif: would be rescaled by 32 .*; check the unit"),
    ],
)
def test_what_cannot_be_compared_is_one_line(asked: dict, trained: Trained, message: str) -> None:
    with pytest.raises(UserError, match=rf"^{message}[^\n]*$"):
        at_scale(ArrayPicture(discs(10, 40), "a.tif"), Scaling(**asked), trained, Lines())


@pytest.mark.parametrize(
    "values", [{"diameter": 0}, {"diameter": -3}, {"pixel_size": "big"}, {"diameter": "big"}]
)
def test_what_is_no_scale(values: dict) -> None:
    (key,) = values
    with pytest.raises(UserError, match=f"{key}=.*: write a number above 0"):
        Scaling(**values)


@pytest.mark.parametrize("diameter", [8, 24, 32])
def test_nuclei_come_back_on_the_own_grid(diameter: float) -> None:
    pixels, net = discs(12, 40), model()
    before, after = net.predict(pixels), net.predict(pixels, diameter=diameter)
    assert after.labels.shape == before.labels.shape == (200, 280)
    assert len(after) == len(before) == 35
    order = [np.lexsort((one.table["centroid_x"].round(), one.table["centroid_y"].round()))
             for one in (before, after)]  # fmt: skip
    for name, tolerance in (("centroid_x", 0.6), ("centroid_y", 0.6), ("area_px", 45)):
        pair = [one.table[name][o] for one, o in zip((before, after), order, strict=True)]
        np.testing.assert_allclose(*pair, atol=tolerance)
    for sides, found in ((before.boxes[order[0]], after.boxes[order[1]]),):
        np.testing.assert_allclose(sides, found, atol=1.5)
    mean = after.table["centroid_x"].mean() - before.table["centroid_x"].mean()
    assert abs(mean) < 0.02  # nothing moves by half a pixel


def test_a_window_is_outlined_as_in_the_whole() -> None:
    picture = Rescaled(ArrayPicture(discs(12, 40)), 0.5)
    net = model(min_size=0, clean=0)
    everything = Window(0, 0, 200, 280)
    shown = net.normalize(picture.read(picture.whole))
    whole = outline_window(net.net, shown, picture, everything)
    window = Window(20, 40, 180, 200)
    shown = net.normalize(picture.read(seen_of(picture, window)))
    part = outline_window(net.net, shown, picture, window)
    expected = whole["label_map"].numpy()[window.slices] > 0
    np.testing.assert_array_equal(part["label_map"].numpy() > 0, expected)
    around = covering(picture, window)
    assert around.y0 % 64 == around.x0 % 64 == 0
    assert around.y0 <= 10 and around.x1 >= 100 and around.y1 <= 100


def test_boxes_and_shapes_are_of_the_own_grid() -> None:
    picture = Rescaled(ArrayPicture(discs(12, 40)), 2)
    labels = torch.zeros(128, 192, dtype=torch.int32)
    labels[20:40, 30:60] = 1
    found = {
        "label_map": labels,
        "scores": torch.ones(1),
        "boxes": torch.tensor([[30.0, 20, 60, 40]]),
        "parameters": torch.tensor([[45.0, 30, 15, 10, 0.7, 471]]),
    }
    names = ("shape_x", "shape_y", "semi_major_px", "semi_minor_px", "angle_rad", "shape_area_px")
    around, window = Window(64, 128, 192, 320), Window(32, 64, 96, 160)
    own = on_own_grid(found, picture, around, window, names)
    assert own["label_map"].shape == (64, 96)
    assert own["label_map"][10:20, 15:30].all() and own["label_map"].sum() == 150
    assert own["boxes"].tolist() == [[15, 10, 30, 20]]
    expected = [22.5, 15, 7.5, 5, 0.7, 117.75]
    np.testing.assert_allclose(own["parameters"].numpy()[0], expected, rtol=1e-6)


def test_without_a_scale_the_result_is_what_it_was() -> None:
    pixels, net = discs(12, 40), model()
    plain = net.net.eval()([torch.from_numpy(net.normalize(pixels)).permute(2, 0, 1)])[0]
    np.testing.assert_array_equal(net.predict(pixels).labels, plain["label_map"].numpy())


def test_what_a_checkpoint_says() -> None:
    stored = {"nucleus_diameter": 17.5, "pixel_size": None, "config": {}}
    assert trained_scale(stored, {}) == Trained(17.5, None)
    resizing = {"transform": {"min_size": 512}}
    assert trained_scale({"nucleus_diameter": "x", "pixel_size": 0}, resizing) == Trained(side=512)


def test_a_first_pass_finds_the_diameter() -> None:
    lines = Lines()
    found = model().predict(discs(10, 40), diameter="auto", progress=lines)
    (line,) = lines.notes  # of 35 discs with a diameter of 20 px
    assert "rescaled by 0.796 (nuclei of 20.1 px, in training 16)" in line
    assert found.labels.shape == (200, 280) and found.labels.max() == 35


def test_of_too_few_nuclei_no_diameter_is_taken() -> None:
    lines = Lines()
    image = discs(10, 40)
    image[:, 80:] = 10
    image[40:] = 10
    found = model().predict(image, diameter="auto", progress=lines)
    assert found.labels.max() == 2
    assert lines.notes == ["array: diameter=auto found 2 nuclei, not rescaled"]


def test_diameter_takes_no_other_word() -> None:
    with pytest.raises(UserError, match=r"^diameter=large: write a number above 0, in pixels, or "):
        Scaling(diameter="large")
