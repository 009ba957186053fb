import io

import numpy as np
import pytest
from PIL import Image

from nucleist.data.formats.channels import (
    Choice,
    Planes,
    chosen_of,
    one_channel,
    one_of_each,
    with_content,
)
from nucleist.data.formats.images import read_image
from nucleist.types import UserError


def nuclei(bright: int = 160, dark: int = 25) -> np.ndarray:
    """`(64, 80)` `uint8`: eight discs on noise."""
    generator = np.random.default_rng(3)
    rows, columns = np.mgrid[:64, :80]
    image = generator.normal(dark, 4, (64, 80))
    for y in (16, 48):
        for x in (10, 30, 50, 70):
            image[(rows - y) ** 2 + (columns - x) ** 2 < 60] = bright
    return image.clip(0, 255).astype(np.uint8)


HUES = {
    "blue": (0, 0, 1),
    "green": (0, 1, 0),
    "cyan": (0, 1, 1),
    "magenta": (1, 0, 1),
    "orange": (1, 0.6, 0.05),
    "violet": (0.4, 0.2, 1),
}


@pytest.mark.parametrize(
    ("kind", "hue"),
    [*(("PNG", hue) for hue in HUES), *(("JPEG", hue) for hue in ("blue", "green", "cyan"))],
)
def test_a_picture_in_one_hue_is_gray(kind: str, hue: str) -> None:
    colored = (nuclei()[..., None] * np.array(HUES[hue])).round().astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(colored).save(buffer, kind, **({"quality": 90} if kind == "JPEG" else {}))
    image = read_image(buffer.getvalue(), "x")
    assert (image == image[..., :1]).all()
    if kind == "PNG":
        np.testing.assert_array_equal(image[..., 0], nuclei())
    else:
        assert np.abs(image[..., 0].astype(int) - nuclei()).mean() < 12


def stained(hematoxylin: np.ndarray, eosin: np.ndarray) -> np.ndarray:
    """Light through two stains, `(H, W, 3)` `uint8` (Ruifrok and Johnston's vectors)."""
    vectors = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
    density = np.stack([hematoxylin, eosin], -1) @ vectors
    return (240 * np.exp(-density)).round().astype(np.uint8)


@pytest.mark.parametrize(("h", "e"), [(1.5, 0.5), (0, 1.5), (1.5, 0), (0.1, 0.1), (3, 3)])
def test_stained_tissue_keeps_its_colours(h: float, e: float) -> None:
    inside = nuclei(255, 60) / 255
    assert with_content(stained(h * inside, e * (1 - inside / 2)), colors=True) is None


def test_a_picture_of_two_signals_keeps_its_colours() -> None:
    other = nuclei()[::-1, ::-1] // 2 + np.arange(80, dtype=np.uint8)
    assert with_content(np.dstack([other, 0 * other, nuclei()]), colors=True) is None


def test_channels_are_not_guessed_by_their_strength() -> None:
    noise = np.random.default_rng(0).integers(0, 9, (64, 80)).astype(np.uint8)
    channels = np.dstack([noise, nuclei(), noise])
    assert with_content(channels, colors=True) == 1
    assert with_content(channels, colors=False) is None
    assert with_content(np.dstack([0 * noise, nuclei(), 0 * noise + 7]), colors=False) == 1


def test_blank_and_equal_channels() -> None:
    blank = np.full((4, 5, 3), (200, 80, 30), np.uint8)
    assert with_content(blank, colors=True) is None
    assert with_content(blank[..., :1].repeat(4, 2), colors=False) == 0
    bits = np.random.default_rng(0).random((4, 5, 3)) > 0.5
    assert with_content(bits, colors=False) is None


def test_a_channel_is_chosen_of_any_image() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (4, 5, 3)).astype(np.uint8)
    for number in (1, 2, 3):
        np.testing.assert_array_equal(
            one_channel(Planes(pixels), number, "x"), pixels[..., number - 1]
        )
    with pytest.raises(UserError, match="x: channel=4, but it has 3"):
        one_channel(Planes(pixels), 4, "x")
    with pytest.raises(UserError, match="x: channel=2, but it has 1"):
        one_channel(Planes(pixels[..., 0]), 2, "x")
    with pytest.raises(UserError, match="x: channel=rgb, but it has 2 channels"):
        one_channel(Planes(pixels[..., :2]), "rgb", "x")


def test_a_channel_is_chosen_by_its_name() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (4, 5, 2)).astype(np.uint8)
    planes = Planes(pixels, colors=False, names=("DAPI", "Alexa 488"))
    np.testing.assert_array_equal(one_channel(planes, " dapi", "x"), pixels[..., 0])
    np.testing.assert_array_equal(one_channel(planes, "ALEXA 488", "x"), pixels[..., 1])
    with pytest.raises(UserError, match=r"x: channel=GFP: write .*; it has 1 DAPI, 2 Alexa 488$"):
        one_channel(planes, "GFP", "x")
    with pytest.raises(UserError, match="channel=a: 2 channels have this name; write channel=1 or"):
        one_channel(Planes(pixels, names=("a", "A")), "a", "x")
    with pytest.raises(UserError, match=r"its channels \(1 to 2\) have no names"):
        one_channel(Planes(pixels), "red", "x")
    colors = np.dstack([pixels, pixels[..., :1]])
    np.testing.assert_array_equal(one_channel(Planes(colors), "Green", "x"), pixels[..., 1])


def test_planes_and_times_are_chosen() -> None:
    assert chosen_of(3, "project", "x", "") == [(0, 1, 2)]
    assert chosen_of(3, "each", "x", "", "t") == [(0,), (1,), (2,)]
    assert chosen_of(3, 2, "x", "") == [(1,)] and chosen_of(1, None, "x", "") == [(0,)]
    assert one_of_each((2, 3), Choice(t=2, z="project"), "x", "") == (1, (0, 1, 2))
    with pytest.raises(UserError, match=r"x: several times \(s\): 2 of them; write t=N \(1 to 2\)"):
        one_of_each((2, 3), Choice(z=1), "x", "s")
    with pytest.raises(UserError, match="x: t=3, but it has 2 times; write t=1 to t=2"):
        one_of_each((2, 3), Choice(t=3), "x", "s")
    with pytest.raises(UserError, match="x: z=each, where one picture is needed"):
        one_of_each((1, 3), Choice(z="each"), "x", "s")


@pytest.mark.parametrize(
    "values",
    [{"channel": 0}, {"channel": True}, {"channel": " "}, {"z": -1}, {"z": 1.5}, {"t": "project"}],
)
def test_what_is_no_choice(values: dict) -> None:
    (key,) = values
    with pytest.raises(UserError, match=f"{key}=.*: write a number from 1, or {key}="):
        Choice(**values)
