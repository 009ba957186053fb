"""U-Net: what counts as background, the loss by hand, nuclei out of perfect maps."""

import numpy as np
import pytest
import torch
from conftest import draw
from support.drawn import disc

from nucleist.data.targets import UNKNOWN, to_target, to_tensor
from nucleist.models import unet
from nucleist.models.pixel_targets import known_pixels, with_background
from nucleist.ops.borders import border_weights, event_weights, near, separated
from nucleist.types import UserError


def thin(seed=0, **options):
    torch.manual_seed(seed)
    return unet(width=2, **options)


def two_of_three(bright=0.9, dark=0.1):
    """Squares of which one is not labelled, as image and target."""
    labels = np.zeros((30, 60), np.int32)
    for i, left in enumerate((5, 25, 45)):
        labels[10:20, left : left + 10] = i + 1
    image = np.where(labels > 0, bright, dark).astype(np.float32)[..., None].repeat(3, 2)
    seen = np.where(labels == 3, 0, labels)
    return to_tensor(image), to_target(np.where(seen > 0, seen, UNKNOWN)), labels


def pairs(count, seed=0):
    """Label maps of two discs that touch or overlap a little, the second on top."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        radius, other = rng.uniform(7, 12, 2)
        angle = rng.uniform(0, 2 * np.pi)
        apart = (radius + other) * rng.uniform(0.88, 0.98)
        middle = 36 + apart * np.sin(angle), 36 + apart * np.cos(angle)
        labels = disc((72, 72), (36, 36), radius)
        labels[disc((72, 72), middle, other) > 0] = 2
        yield labels


@pytest.mark.parametrize("shades", [(0.9, 0.1), (0.2, 0.8)])
def test_an_unlabelled_nucleus_is_no_background(shades):
    image, target, labels = two_of_three(*shades)
    seen = target["label_map"].numpy()
    for background, band in (("near", 3), ("similar", 3)):
        known = with_background(image, target, background, band)["known"].numpy()
        assert known[(seen > 0) | near(seen, band)].all()
        assert not known[labels == 3].any()
    everything = with_background(image, target, "all", 3)["known"]
    assert everything.all() and not target["known"].all()  # the given target is left alone


def test_background_is_also_what_looks_like_the_surroundings():
    rng = np.random.default_rng(0)
    image, target, labels = two_of_three()
    image = image + torch.from_numpy(rng.normal(0, 0.02, image.shape[1:]).astype(np.float32))
    known = with_background(image, target, "similar", 3)["known"].numpy()
    far = ~near(labels, 6) & (labels == 0)
    assert known[far].mean() > 0.4 and not known[labels == 3].any()
    assert not with_background(image, target, "near", 3)["known"].numpy()[far].any()


def test_where_labels_are_complete_all_is_known():
    _, _, labels = two_of_three()
    target = to_target(labels)
    assert with_background(torch.zeros(3, 30, 60), target, "near", 1) is target
    assert known_pixels(target).all()


def test_an_image_without_labels_teaches_nothing():
    target = to_target(np.full((20, 20), UNKNOWN, np.int32))
    image = torch.rand(3, 20, 20)
    assert not with_background(image, target, "similar", 4)["known"].any()
    losses = thin()([image], [target])
    assert all(loss.item() == 0 for loss in losses.values())


def test_the_loss_does_not_depend_on_unknown_pixels():
    image, target, _ = two_of_three()
    net = thin()
    raw = torch.zeros(1, 32, 64, requires_grad=True)
    sum(net.losses(raw, [with_background(image, target, "near", 2)]).values()).backward()
    wanted = (target["label_map"] > 0).numpy() | near(target["label_map"].numpy(), 2)
    assert ((raw.grad[0, :30, :60] != 0).numpy() == wanted).all()
    assert not raw.grad[0, 30:].any() and not raw.grad[0, :, 60:].any()


def test_the_losses_by_hand():
    _, labels = draw((32, 48), 6, 0)
    raw = torch.zeros(1, 32, 48)
    losses = thin().losses(raw, [to_target(labels)])
    weights = border_weights(separated(labels))
    assert losses["loss_entropy"].item() == pytest.approx(np.log(2) * weights.mean(), rel=1e-5)
    # p is one half for both classes: 2 sum(p y) is n, the squares are n / 2 and n.
    assert losses["loss_dice"].item() == pytest.approx(1 - 1 / 1.5, rel=1e-5)
    plain = thin(border_height=0.0).losses(raw, [to_target(labels)])
    assert plain["loss_entropy"] < losses["loss_entropy"]
    rare = thin(loss_weights="events").losses(raw, [to_target(labels)])
    weights = event_weights(separated(labels))
    assert rare["loss_entropy"].item() == pytest.approx(np.log(2) * weights.mean(), rel=1e-5)


@pytest.mark.parametrize("how", ["watershed", "components"])
def test_touching_nuclei_are_two_in_a_perfect_map(how):
    net = thin(instances=how)
    maps = [(separated(labels) > 0).astype(np.float32) for labels in pairs(200)]
    assert [net.instances(values)[0].max() for values in maps] == [2] * 200


@pytest.mark.slow
def test_the_watershed_cuts_nuclei_that_are_joined():
    joined = [(labels > 0).astype(np.float32) for labels in pairs(200)]
    found = [thin().instances(values)[0].max() for values in joined]
    assert found == [2] * 200
    whole = [thin(instances="components").instances(values)[0].max() for values in joined[:20]]
    assert whole == [1] * 20


def test_specks_and_holes_are_cleaned_up():
    values = np.zeros((40, 60), np.float32)
    values[5:25, 5:25] = values[5:25, 30:50] = 0.9
    values[10:14, 10:14] = 0  # a hole of 16 px
    values[30:36, 5:11] = 0.9  # 36 px; the mean area is (384 + 400 + 36) / 3
    labels, scores = thin().instances(values)
    assert labels.max() == 2 and (labels > 0).sum() == 800
    assert ((scores >= 0.5) & (scores <= 1)).all()
    assert thin(clean=0.0).instances(values)[0].max() == 3
    assert (thin(clean=0.0, instances="components").instances(values)[0] > 0).sum() == 820


@pytest.mark.parametrize("size", [(1, 1), (17, 40), (33, 70)])
def test_images_of_any_size(size):
    net = thin()
    losses = net([torch.rand(3, *size)], [to_target(np.zeros(size, np.int32))])
    assert all(torch.isfinite(loss) for loss in losses.values())
    with torch.inference_mode():
        found = net.eval()([torch.rand(3, *size)])
    assert found[0]["label_map"].shape == size


def test_an_empty_image_is_taught_as_background():
    raw = torch.zeros(1, 32, 32)
    losses = thin().losses(raw, [to_target(np.zeros((32, 32), np.int32))])
    assert losses["loss_entropy"].item() == pytest.approx(np.log(2))


@pytest.mark.parametrize("option", ["background", "instances"])
def test_an_unknown_option_is_told(option):
    with pytest.raises(UserError, match=rf"model\.{option}=x is unknown; use one of"):
        unet(**{option: "x"})


@pytest.mark.parametrize(
    "option", ["h=-1", "band=-1", "clean=-1", "threshold=0", "border_variance=0"]
)
def test_numbers_out_of_range_are_told(option):
    key, value = option.split("=")
    with pytest.raises(UserError, match=rf"^model\.{option} .*; use"):
        unet(**{key: int(value)})


@pytest.mark.slow
def test_partial_labels_are_learned_and_the_others_found():
    image, labels = draw((64, 64), 7, 3)
    seen = np.where(labels % 2 == 1, labels, 0)
    target = to_target(np.where(seen > 0, seen, UNKNOWN))
    images, targets = [to_tensor(image)] * 2, [target] * 2
    net = unet(width=4)
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(40):
        loss = sum(net(images, targets).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    probability = net.eval().maps(images[:1])[0].detach().numpy()
    hidden = (labels > 0) & (seen == 0)
    assert (probability[hidden] > 0.5).mean() > 0.8
    assert (probability[labels == 0] > 0.5).mean() < 0.2
