import numpy as np

from nucleist.data.pictures.picture import ArrayPicture
from nucleist.types import Window


def test_window_of_a_gray_picture_has_three_planes_and_one_channel():
    pixels = np.repeat(np.arange(12, dtype=np.uint8).reshape(3, 4, 1), 3, 2)
    with ArrayPicture(pixels) as picture:
        assert picture.whole == Window(0, 0, 3, 4)
        assert picture.channels == ("",)
        window = Window(1, 2, 3, 4)
        assert picture.read(window)[..., 0].tolist() == [[6, 7], [10, 11]]
        assert picture.read_channels(window).shape == (2, 2, 1)


def test_colours_are_measured_one_by_one():
    pixels = np.zeros((2, 2, 3), np.uint16)
    pixels[..., 1] = 7
    picture = ArrayPicture(pixels, names=("a", "b", "c"))
    assert picture.channels == ("a", "b", "c")
    assert picture.read_channels(picture.whole)[0, 0].tolist() == [0, 7, 0]
