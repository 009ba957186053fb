"""Slots of known position are found there: by points of any distance, in tiles, as parameters."""

import numpy as np
import pytest
import torch
from support.drawn import areas, middle

from nucleist.models.canonical.net import CanonicalShapeNet, canonical_shape
from nucleist.models.canonical.shape import PATCH_PX, UNIT_PX, ShapeMLP, Slots, decode
from nucleist.models.canonical.slot_masks import to_prediction

RADIUS = 0.5


def sharp_disc():
    """A canonical shape with a steep outline at the radius `RADIUS`."""
    shape = ShapeMLP()
    with torch.no_grad():
        for parameter in shape.parameters():
            parameter.zero_()
        shape.last.weight[0, 4:] = torch.tensor([0.0, 0.0, 40.0])
        shape.last.bias[:] = -40 * RADIUS
    return shape


def slot(center, radius):
    """A present slot whose mask is a disc, centre (y, x) and radius in pixels."""
    scale = RADIUS * UNIT_PX / radius
    place = torch.tensor([[center[1], center[0]]], dtype=torch.float32) / UNIT_PX
    return Slots(torch.tensor([[scale, 0.0, scale]]), place, torch.tensor([12.0]))


@pytest.mark.parametrize(("point_px", "upsample"), [(1, "log"), (2, "logit"), (4, "logit")])
@torch.no_grad()
def test_masks_lie_where_their_slots_are(point_px, upsample):
    shape, apart, off = sharp_disc(), [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        center, radius = rng.uniform(26, 38, 2), rng.uniform(8, 16)
        given = slot(center, radius), (64, 72), point_px, False
        found = to_prediction(shape, *given, upsample=upsample)
        apart.append(middle(found["label_map"]) - center)
        off.append(areas(found["label_map"], 1)[0] / (np.pi * radius**2) - 1)
        x, y, major, minor = found["parameters"][0, :4].tolist()
        assert (y, x) == pytest.approx(tuple(center), abs=1e-4)
        assert (major, minor) == pytest.approx((radius, radius), rel=1e-3)
        box = found["boxes"][0].numpy()
        assert np.abs((box[:2] + box[2:])[::-1] / 2 - center).max() < 1
    assert np.abs(np.mean(apart, 0)).max() < 0.05 and np.abs(apart).max() < 0.3
    assert abs(np.mean(off)) < (0.03 if point_px == 4 else 0.01)


def test_no_offset_is_the_middle_of_a_cell_or_of_a_patch():
    maps = torch.tensor([4.0, 0.0, 4.0, 0.0, 0.0])[None, :, None, None].expand(1, 5, 8, 8)
    cells = decode(maps, torch.zeros(1, 1, 8, 8), "cell", 16).center[0] * UNIT_PX
    assert cells[0].tolist() == [8, 8] and cells[10].tolist() == [16 * 2 + 8, 16 + 8]
    patch = decode(maps, torch.zeros(1, 1, 8, 8), "absolute", 16).center[0] * UNIT_PX
    assert (patch == PATCH_PX / 2).all()


class NoBody(torch.nn.Module):
    """Stands where the encoder would."""

    out_channels, stride = 1, 16


def test_slots_of_tiles_are_in_the_frame_of_the_image(monkeypatch):
    """In each tile a disc is at the place of the image's disc, as far as it is in that tile."""
    net = canonical_shape(NoBody(), translation="absolute", grid=128).eval()
    net.shape = sharp_disc()
    center, radius = np.array([101.7, 96.4]), 11.0
    image = torch.zeros(3, 150, 200)
    image[0] = torch.arange(150)[:, None] / 1000
    image[1] = torch.arange(200) / 1000

    def slots(self, images):
        corner = 1000 * images[0][:2, 0, 0].numpy().astype(np.float64)
        found = slot(center - corner, radius)
        return Slots(found.matrix[None], found.center[None], found.logit[None])

    monkeypatch.setattr(CanonicalShapeNet, "slots", slots)
    found = net.predict(image)
    assert found["scores"].shape == (1,)
    assert np.abs(middle(found["label_map"]) - center).max() < 0.1
    assert found["parameters"][0, :2].tolist() == pytest.approx(center[::-1].tolist(), abs=1e-2)
