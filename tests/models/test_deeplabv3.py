"""DeepLabV3: both kinds of targets, a batch of one image, losses by hand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import draw
from support.nets import train
from torch import nn
from torchvision.models import resnet18

from nucleist.data.targets import to_binary, to_target, to_tensor
from nucleist.models import deeplabv3, resnet_body
from nucleist.models.deeplabv3 import smooth_dice
from nucleist.models.map_net import TargetMaps, to_prediction
from nucleist.models.norms import SingleBatchNorm
from nucleist.models.pixel_targets import labels_of
from nucleist.ops.labels import at_threshold
from nucleist.types import UserError


class Body(nn.Sequential):
    """In place of a ResNet: cells of 16 px, 8 channels."""

    out_channels, stride = 8, 16

    def __init__(self):
        super().__init__(nn.Conv2d(3, 8, 16, stride=16), nn.ReLU())


def make(**options):
    torch.manual_seed(0)
    return deeplabv3(Body(), **options)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return deeplabv3(resnet_body("resnet18"))


def test_either_kind_of_target_gives_the_foreground():
    labels = np.array([[0, 3, 3], [1, 0, 0]], np.int32)
    wanted = [[False, True, True], [True, False, False]]
    assert (labels_of(to_target(labels)) > 0).tolist() == wanted
    assert (labels_of(to_binary(labels)) > 0).tolist() == wanted


def test_the_losses_do_not_depend_on_the_kind_of_target():
    net = make()
    _, labels = draw((20, 30), 4, 0)
    raw = torch.randn(1, 32, 32)
    first, second = (net.losses(raw, [kind(labels)]) for kind in (to_target, to_binary))
    assert first == second


def test_the_losses_by_hand():
    mask = np.zeros((4, 8), np.int32)
    mask[:2] = 1  # 16 of 32 pixels
    raw = torch.full((1, 32, 32), 2.0)
    losses = make(dice=0.5).losses(raw, [to_target(mask)])
    p = 1 / (1 + np.exp(-2))
    # Padding does not count: half of the pixels are ones, half are zeros.
    assert losses["loss_bce"].item() == pytest.approx(-(np.log(p) + np.log(1 - p)) / 2)
    wanted = 0.5 * (1 - (2 * 16 * p + 1) / (32 * p + 16 + 1))
    assert losses["loss_dice"].item() == pytest.approx(wanted)
    assert list(make().losses(raw, [to_target(mask)])) == ["loss_bce"]


def test_two_empty_masks_agree():
    nothing = torch.zeros(2, 4, 4)
    assert smooth_dice(nothing, TargetMaps(nothing, nothing == 0)).item() == 0


def test_one_value_a_channel_is_normalised_by_the_running_statistics():
    norm = SingleBatchNorm(3)
    with torch.no_grad():
        norm.running_mean.copy_(torch.tensor([1.0, 2, 3]))
        norm.running_var.fill_(4)
    out = norm(torch.tensor([3.0, 2, 1]).view(1, 3, 1, 1))
    assert out.flatten().tolist() == pytest.approx([1, 0, -1], abs=1e-5)  # (x - mean) / 2
    assert norm.running_mean.tolist() == [1, 2, 3]
    x = torch.rand(2, 3, 1, 1)  # two values: torch's own
    torch.testing.assert_close(norm(x), F.batch_norm(x, None, None, training=True))
    assert norm.running_mean[0] != 1


@pytest.mark.parametrize("sizes", [[(1, 1)], [(17, 40), (48, 33)]])
def test_batches_of_one_and_of_odd_sizes_train(net, sizes):
    net.train()
    images = [torch.rand(3, *size) for size in sizes]
    targets = [to_binary(np.zeros(size, np.int32)) for size in sizes]
    losses = net(images, targets)
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    net.eval()
    with torch.inference_mode():
        found = net(images)
    assert [f["label_map"].shape for f in found] == sizes


def test_the_bodys_names_are_torchvisions(net):
    names = set(net.backbone.body.state_dict())
    assert names == {n for n in resnet18(weights=None).state_dict() if not n.startswith("fc.")}


def test_logits_are_upsampled_to_the_image(net):
    net.eval()
    with torch.inference_mode():
        batch = torch.rand(1, 3, 64, 48)
        cells = net.classifier(net.backbone(batch))
        assert cells.shape == (1, 1, 4, 3)  # stride 16
        assert net.raw(batch).shape == (1, 64, 48)


def test_the_score_is_the_mean_probability():
    probability = np.zeros((12, 20))
    probability[2:8, 2:8] = 0.6
    probability[2:8, 10:16] = 0.9
    labels, scores = make().instances(probability)
    assert scores[labels[4, 4] - 1] == pytest.approx(0.6)
    assert scores[labels[4, 12] - 1] == pytest.approx(0.9)


def test_at_score_one_half_every_nucleus_counts_whatever_the_threshold():
    # The range from the threshold 0.3 to 1 becomes 0.5 to 1: (0.4 - 0.3) / 0.7 / 2 + 0.5, ...
    probability = np.zeros((12, 20), np.float32)
    probability[2:8, 2:8], probability[2:8, 10:16] = 0.4, 0.9
    labels, scores = make(threshold=0.3).instances(probability)
    assert scores[labels[4, 4] - 1] == pytest.approx(0.5 + 0.1 / 1.4)
    assert scores[labels[4, 12] - 1] == pytest.approx(0.5 + 0.6 / 1.4)
    prediction = to_prediction(labels, scores, torch.device("cpu"))
    assert (at_threshold(prediction, 0.5) > 0).sum() == 2 * 36
    labels, scores = make(threshold=0.8).instances(probability)
    assert scores == pytest.approx([0.75])


@pytest.mark.parametrize("option", ["h=-1", "threshold=0.0", "threshold=1.0"])
def test_numbers_out_of_range_are_told(option):
    key, value = option.split("=")
    with pytest.raises(UserError, match=rf"^model\.{option} .*; use"):
        make(**{key: float(value) if "." in value else int(value)})


def test_options_reach_the_instances():
    probability = np.zeros((20, 40))
    probability[3:17, 3:17] = probability[3:17, 20:34] = 0.8
    probability[9:11, 17:20] = 0.8  # a bridge of 2 px
    assert make().instances(probability)[0].max() == 1
    assert make(instances="watershed").instances(probability)[0].max() == 2
    assert make(instances="watershed", h=9.0).instances(probability)[0].max() == 1
    assert make(threshold=0.85).instances(probability)[0].max() == 0
    assert make(min_size=500).instances(probability)[0].max() == 0
    with pytest.raises(UserError, match=r"model\.instances=x is unknown"):
        make(instances="x")


def test_a_drawn_image_is_learned():
    image, labels = draw((64, 64), 5, 0)
    images, targets = [to_tensor(image)] * 2, [to_binary(labels)] * 2
    losses = train(make(), images, targets, "loss_bce", rate=1e-3, steps=20)
    assert np.mean(losses[-3:]) < 0.7 * losses[0]
