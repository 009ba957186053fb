"""The canonical-shape net: what it predicts from planted features, and that it learns."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nucleist.data import NucleiData, Synthetic, light
from nucleist.models import canonical_shape, resnet_body
from nucleist.ops.normalize import FullRange
from nucleist.types import UserError

pytestmark = pytest.mark.slow

LOSSES = {"loss_bce", "loss_dice", "loss_count"}


class Seeing(nn.Module):
    """A backbone that sees marked pixels: is there one in a cell, and where.

    Channels: marked; x and y off the middle of the cell, in cells; x and y off the middle of a
    patch of 128 px, in 64 px.
    """

    out_channels, stride = 5, 16

    def forward(self, images):
        marks = (images[:, :1] > 0.5).float()
        rows, cols = ((torch.arange(side) + 0.5) for side in images.shape[2:])
        y, x = torch.meshgrid(rows, cols, indexing="ij")
        at = [x % 16 / 16 - 0.5, y % 16 / 16 - 0.5, x / 64 - 1, y / 64 - 1]
        planes = torch.cat([marks, marks * torch.stack(at)], 1)
        return 256 * F.avg_pool2d(planes, 16)


def seeing(translation="cell", **options):
    """A net whose first slot of a cell is present, 8 px in radius, where a pixel is marked."""
    torch.manual_seed(0)
    net = canonical_shape(
        Seeing(), translation=translation, image_mean=[0] * 3, image_std=[1] * 3, **options
    )
    with torch.no_grad():
        for head in (net.map_head, net.presence_head):
            head.weight.zero_()
            head.bias.zero_()
        net.map_head.bias[[0, 2]] = math.log(math.expm1(3.7))  # diagonal 3.7 + 0.3 = 0.5 / (8/64)
        axes = (1, 2) if translation == "cell" else (3, 4)
        for output, channel in zip((3, 4), axes, strict=True):  # t = -L c
            net.map_head.weight[output, channel] = 1.0 if translation == "cell" else -4.0
        net.presence_head.weight[0, 0] = 16.0
        net.presence_head.bias[:] = -8.0
    return net.eval()


def marked(shape, *places):
    image = torch.zeros(3, *shape)
    for x, y in places:
        image[:, y, x] = 1.0
    return image


def disc(shape, x, y, radius):
    rows, cols = np.indices(shape) + 0.5
    return torch.from_numpy((cols - x) ** 2 + (rows - y) ** 2 <= radius**2).to(torch.uint8)


def target(mask, count=1):
    return {"mask": mask, "count": torch.tensor(count)}


# --- training


def test_two_passes_have_the_plain_forms_losses_and_gradients():
    torch.manual_seed(0)
    net = canonical_shape(resnet_body("resnet18"), presence_bias=0.0)
    images = [torch.rand(3, 64, 64), torch.rand(3, 48, 64)]
    targets = [target(disc(i.shape[1:], 30, 20, 9), 2) for i in images]
    found = []
    for net.two_pass in (True, False):
        net.zero_grad()
        losses = net.train()(images, targets)
        sum(losses.values()).backward()
        grads = torch.cat([p.grad.flatten() for p in net.parameters()])
        found.append((torch.stack(list(losses.values())).detach(), grads))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-5, atol=1e-6)
    difference = (found[0][1] - found[1][1]).norm() / found[1][1].norm()
    assert difference < 1e-5


def test_padding_of_a_batch_counts_for_nothing():
    net = seeing(point_px=1).train()  # coarser points are interpolated up to the padding's end
    images = [marked((48, 64), (10, 10), (50, 40)), marked((64, 33), (20, 30))]
    targets = [
        target(disc((48, 64), 10, 10, 8) | disc((48, 64), 50, 40, 8), 2),
        target(disc((64, 33), 20, 30, 8)),
    ]
    together = net(images, targets)
    apart = [net([image], [one]) for image, one in zip(images, targets, strict=True)]
    assert set(together) == LOSSES
    for name, value in together.items():
        wanted = (apart[0][name] + apart[1][name]) / 2
        assert value.item() == pytest.approx(wanted.item(), abs=1e-5)
    assert together["loss_dice"] < 0.3


def test_count_loss_by_hand():
    # p = 1/2 in 2 slots of each of 2 x 3 cells: 6 expected, 4 there: 0.01 (6 - 4)^2
    net = seeing(alpha=0.01).train()
    with torch.no_grad():
        net.presence_head.bias.zero_()
        image = [torch.zeros(3, 32, 48)]
    losses = net(image, [target(torch.zeros(32, 48, dtype=torch.uint8), 4)])
    assert losses["loss_count"].item() == pytest.approx(0.04, rel=1e-5)


@pytest.mark.parametrize("sizes", [[(48, 64), (17, 31)], [(1, 3)]])
@pytest.mark.parametrize("options", [{}, {"aspp": True}, {"translation": "absolute"}])
def test_patches_without_nuclei_train(options, sizes):
    """Also one image alone, and one of a single cell."""
    torch.manual_seed(0)
    net = canonical_shape(resnet_body("resnet18"), **options).train()
    images = [torch.rand(3, *size) for size in sizes]
    losses = net(images, [target(torch.zeros(i.shape[1:], dtype=torch.uint8), 0) for i in images])
    assert all(torch.isfinite(value) for value in losses.values())
    sum(losses.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


def test_everything_after_the_encoder_is_float32_under_autocast():
    torch.manual_seed(0)
    net = canonical_shape(resnet_body("resnet18"))
    image, one = torch.rand(3, 32, 32), target(disc((32, 32), 16, 16, 6))
    with torch.autocast("cpu", torch.bfloat16):
        losses, slots = net.train()([image], [one]), net.slots([image])
        prediction = net.eval()([image])[0]
    assert all(value.dtype == torch.float32 for value in (*losses.values(), *slots))
    assert prediction["parameters"].dtype == torch.float32


class Renumbered:
    """A source whose nuclei have other ids."""

    def __init__(self, source):
        self.source = source

    def splits(self):
        return self.source.splits()

    def read(self, image_id):
        record = self.source.read(image_id)
        ids = np.unique(record.labels)
        table = np.zeros(ids.max() + 1, np.int32)
        table[ids[1:]] = np.random.default_rng(1).permutation(np.arange(5, 5 + len(ids) - 1))
        return replace(record, labels=table[record.labels])


def test_the_loader_hides_the_instances():
    source = Synthetic(n_train=3, n_test=1, size=(64, 64), count=(4, 6), radius=(5, 8))
    torch.manual_seed(0)
    net = canonical_shape(resnet_body("resnet18")).train()
    found = []
    for one in (source, Renumbered(source)):
        data = NucleiData(
            one, FullRange(), light(crop=48, focus=0.0), batch_size=3, steps=1, supervision="binary"
        )
        (batch,) = data.train_dataloader()
        images, targets, _ = batch
        assert all(set(t) == {"mask", "count"} for t in targets)
        losses = net(images, targets)
        found.append(([loss.item() for loss in losses.values()], targets))
    assert found[0][0] == found[1][0]
    assert sum(int(t["count"]) for t in found[0][1]) > 3
    labels = [one.read("synthetic-train-0000").labels for one in (source, Renumbered(source))]
    assert (labels[0] != labels[1]).any() and ((labels[0] > 0) == (labels[1] > 0)).all()


# --- prediction


@pytest.mark.parametrize("grid", [32, 128])
def test_a_prediction_keeps_the_contract(grid):
    image = marked((60, 70), (20, 20), (50, 45))
    (found,) = seeing(grid=grid)([image])
    assert found["label_map"].dtype == torch.int32 and found["label_map"].shape == (60, 70)
    assert found["label_map"].unique().tolist() == [0, 1, 2]
    assert (found["scores"].diff() <= 0).all() and found["scores"].dtype == torch.float32
    order = found["parameters"][:, 0].argsort()
    for i, (x, y) in zip(order.tolist(), [(20.5, 20.5), (50.5, 45.5)], strict=True):
        row = found["parameters"][i].tolist()
        assert row[:4] == pytest.approx([x, y, 8, 8], abs=0.5)
        # the mask is where p(s) p(z) >= 0.5, a bit smaller than where p(s) is
        inside = found["label_map"] == i + 1
        assert (inside & (disc((60, 70), x, y, 8.6) == 0)).sum() == 0
        assert (disc((60, 70), x, y, 6.8).bool() & ~inside).sum() == 0
        rows, cols = inside.nonzero(as_tuple=True)
        box = [cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]
        assert found["boxes"][i].tolist() == [float(value) for value in box]


def test_an_image_without_nuclei():
    (found,) = seeing()([torch.zeros(3, 20, 30)])
    assert found["boxes"].shape == (0, 4) and found["parameters"].shape == (0, 6)
    assert len(found["scores"]) == 0
    assert found["label_map"].shape == (20, 30) and not found["label_map"].any()


# across the seams of tiles (96 and 128 px), in all corners, and apart
PLACES = [(8, 8), (100, 9), (112, 60), (127, 130), (250, 8), (206, 96), (9, 190), (250, 190)]
PLACES += [(96, 100), (160, 111), (191, 160), (60, 111)]


@pytest.mark.parametrize("translation", ["cell", "absolute"])
def test_images_larger_than_a_patch(translation):
    (found,) = seeing(translation)([marked((200, 260), *PLACES)])
    places = sorted((x - 0.5, y - 0.5) for x, y in found["parameters"][:, :2].tolist())
    assert np.allclose(places, sorted(PLACES), atol=1e-3)
    assert found["label_map"].max() == len(PLACES)


def test_contained_slots_are_one_nucleus_and_the_mask_stays():
    # Marks 4 px apart in two cells: discs of 8 px with 16 - 4 px in common, and one far away
    image = marked((64, 64), (30, 20), (34, 20), (20, 50))
    (apart,), (joined,) = seeing(group=False)([image]), seeing(group=True)([image])
    assert len(apart["scores"]) == 3 and len(joined["scores"]) == 2
    assert ((apart["label_map"] > 0) == (joined["label_map"] > 0)).all()
    assert joined["label_map"].max() == 2
    ids = [int(joined["label_map"][y, x]) for x, y in ((30, 20), (34, 20), (20, 50))]
    assert ids[0] == ids[1] != ids[2]
    boxes = joined["boxes"][ids[0] - 1]
    assert boxes[2] - boxes[0] > 18


def test_a_contested_pixel_goes_to_the_likelier_slot():
    image = marked((64, 64), (24, 30), (36, 30))  # 12 px apart, 8 px in radius
    (found,) = seeing()([image])
    ids = [int(found["label_map"][30, x]) for x in (24, 29, 31, 36)]
    assert ids[0] == ids[1] != ids[2] and ids[2] == ids[3]


# --- what users get wrong


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"translation": "global"}, ["model.translation=global", "cell, absolute"]),
        ({"grid": 100}, ["model.grid=100", "32, 64, 128"]),
        ({"point_px": 3}, ["model.point_px=3"]),
        ({"upsample": "p"}, ["model.upsample=p", "log, logit"]),
        ({"temperature": 0.1}, ["model.temperature=0.1", "two_pass=false"]),
    ],
)
def test_wrong_options_are_told_in_one_line(options, words):
    with pytest.raises(UserError) as error:
        canonical_shape(Seeing(), **options)
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value)


def test_wrong_bodies_are_told_in_one_line():
    with pytest.raises(UserError, match=r"stride 32.*dilated=true"):
        canonical_shape(resnet_body("resnet18", dilated=False))
    with pytest.raises(UserError, match=r"model\.backbone\.name=resnet19.*resnet18"):
        resnet_body("resnet19")


def test_absolute_translation_learns_from_patches_alone():
    net = seeing("absolute").train()
    mask = torch.zeros(64, 160, dtype=torch.uint8)
    with pytest.raises(UserError, match=r"128 px.*\(64, 160\).*augment\.crop=128"):
        net([torch.rand(3, 64, 160)], [target(mask)])


# --- the body


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_dilation_gives_the_strided_values_and_those_between(name):
    torch.manual_seed(0)
    dense, strided = resnet_body(name).eval(), resnet_body(name, dilated=False).eval()
    strided.load_state_dict(dense.state_dict())
    image = torch.rand(1, 3, 38, 64)
    with torch.no_grad():
        fine, coarse = dense(image), strided(image)
    assert fine.shape == (1, dense.out_channels, 3, 4) and (dense.stride, strided.stride) == (
        16,
        32,
    )
    torch.testing.assert_close(fine[..., ::2, ::2], coarse, rtol=1e-4, atol=1e-4)
