"""Nets that learn maps: a nucleus that nobody labelled gives no gradient."""

import numpy as np
import pytest
import torch
from skimage.draw import disk

from nucleist.data.targets import UNKNOWN, to_binary, to_target
from nucleist.models import deeplabv3, dist, resnet_body, unet

pytestmark = pytest.mark.slow

BUILD = {
    "unet": lambda **options: unet(width=2, **options),
    "dist": lambda **options: dist(width=2, **options),
    "deeplabv3": lambda **options: deeplabv3(resnet_body("resnet18"), dice=0.5, **options),
}
CASES = [*((name, to_target) for name in BUILD), ("deeplabv3", to_binary)]


def scene():
    """A bright image `(3, 64, 96)` of three discs, and its labels, of which 3 is unknown."""
    labels = np.zeros((64, 96), np.int32)
    for number, middle in enumerate(((16, 20), (44, 30), (30, 72)), 1):
        labels[disk(middle, 9)] = number
    image = torch.from_numpy(0.1 + 0.7 * (labels > 0)).float().expand(3, -1, -1)
    return image, labels, np.where(np.isin(labels, (1, 2)), labels, UNKNOWN).astype(np.int32)


def gradient(net, image, target):
    """Of the losses after the net's map, `(64, 96)`."""
    kept, raw = [], net.raw

    def keep(batch):
        kept.append(raw(batch))
        kept[0].retain_grad()
        return kept[0]

    net.raw = keep
    sum(net.train()([image], [target]).values()).backward()
    return kept[0].grad[0, :64, :96].numpy()


@pytest.mark.parametrize(("name", "kind"), CASES)
@pytest.mark.parametrize("background", ["similar", "near"])
def test_a_nucleus_that_nobody_labelled_gives_no_gradient(name, kind, background):
    image, labels, partial = scene()
    torch.manual_seed(0)
    found = gradient(BUILD[name](background=background), image, kind(partial))
    assert not found[labels == 3].any()
    assert found[labels == 1].any() and found[labels == 2].any()
    band = found[16, 31:33]  # beside the first disc, whose last column is 28 or 29
    assert band.all()
    far = found[60:, 80:]
    assert far.all() if background == "similar" else not far.any()


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_as_all_that_is_not_labelled_it_is_background(name, kind):
    image, labels, partial = scene()
    torch.manual_seed(0)
    found = gradient(BUILD[name](background="all"), image, kind(partial))
    assert found[labels == 3].all()


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_where_nothing_is_labelled_the_losses_are_0(name, kind):
    image, labels, _ = scene()
    torch.manual_seed(0)
    net = BUILD[name]().train()
    losses = net([image], [kind(np.full_like(labels, UNKNOWN))])
    assert all(loss.item() == 0 for loss in losses.values())
    sum(losses.values()).backward()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_where_labels_are_complete_background_changes_nothing(name, kind):
    image, labels, _ = scene()
    found = []
    for background in ("similar", "near", "all"):
        torch.manual_seed(0)
        found.append(gradient(BUILD[name](background=background, band=1), image, kind(labels)))
    assert (found[0] == found[1]).all() and (found[0] == found[2]).all()
