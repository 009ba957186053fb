"""NuSeT as a net: its size, its input, its losses by hand, and what it does with a foreground."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import draw

from nucleist.config.compose import compose
from nucleist.data.targets import UNKNOWN, to_target, to_tensor
from nucleist.models import nuset
from nucleist.models.nuset.inputs import gray, shifted, standardized
from nucleist.models.nuset.losses import dice_of_logits
from nucleist.models.nuset.net import Found
from nucleist.models.pixel_targets import known_pixels, with_background
from nucleist.models.two_pass import by_foreground
from nucleist.ops.labels import boxes_of
from nucleist.types import UserError


def thin(seed=0, **options):
    torch.manual_seed(seed)
    return nuset(width=2, **options)


def step(net, images, targets, seed=0):
    torch.manual_seed(seed)
    return net.train()(images, targets)


def parameters(**options):
    """How many, counted without memory for them."""
    with torch.device("meta"):
        net = nuset(**options)
    return [sum(p.numel() for p in part.parameters()) for part in (net.unet, net.rpn)]


class TestSize:
    """Parameters of the paper's net."""

    def test_the_papers_net_has_32_15_and_2_42_million(self):
        # Two convolutions a level: 9 (a n + n n) kernels and 2 n biases; the transposed ones have
        # 9 a n + n; merging reads 2 n channels, at the lowest resolution n; the head 9 * 64 * 2.
        widths = [64, 128, 256, 512, 1024]
        down = [9 * (a * n + n * n) + 2 * n for a, n in pairwise([1, *widths])]
        up = [9 * a * n + n for n, a in pairwise(widths)]
        merge = [9 * (2 * n * n + n * n) + 2 * n for n in (64, 128, 256)]
        merge.append(9 * (512**2 + 512**2) + 1024)
        unet, rpn = parameters()
        assert unet == sum(down) + sum(up) + sum(merge) + 9 * 64 * 2 == 32_153_984
        assert rpn == 2_424_446

    def test_the_skip_at_the_lowest_resolution_adds_2_36(self):
        assert parameters(deep_skip=True)[0] - parameters()[0] == 9 * 512**2 == 2_359_296


class TestInput:
    """Gray and standardised."""

    def test_colours_become_luminance(self):
        image = torch.tensor([1.0, 2.0, 4.0])[:, None, None].expand(3, 1, 2)
        assert gray(image).flatten().tolist() == pytest.approx([0.2989 + 1.174 + 0.456] * 2)

    def test_mean_0_and_deviation_1(self):
        found = standardized(torch.rand(1, 20, 20))
        assert found.mean().item() == pytest.approx(0, abs=1e-5)
        assert found.std(correction=0).item() == pytest.approx(1, abs=1e-3)
        assert not standardized(torch.ones(1, 9, 9)).any()

    def test_brightness_and_contrast_do_not_matter(self):
        net = thin().eval()
        image = torch.rand(3, 40, 33)
        with torch.no_grad():
            first, second = (net._run([x]).classes for x in (image, 0.3 * image + 0.5))
        torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-3)

    def test_as_fine_net_it_sees_standard_deviations_of_the_nuclei(self):
        image, labels = draw((40, 50), 5, 0)
        inside = torch.from_numpy(labels > 0)
        found = shifted(gray(by_foreground(to_tensor(image), inside)))[0][inside]
        assert found.mean().item() == pytest.approx(0, abs=0.1)  # of luminance, not of channels
        with torch.no_grad():  # and does not undo it, so that brightness matters to it
            first, second = (
                thin(standardize=False)._run([x]).classes
                for x in (to_tensor(image), to_tensor(image) + 1)
            )
        assert not torch.allclose(first, second, atol=1e-3)


class TestLosses:
    """Foreground and boxes together."""

    def test_four_losses_and_what_was_sampled(self):
        net = thin()
        image, labels = draw((64, 64), 5, 0)
        losses = step(net, [to_tensor(image)], [to_target(labels)])
        assert set(losses) == {"loss_entropy", "loss_dice", "loss_rpn_class", "loss_rpn_box"}
        counts = net.step_counts()
        assert counts["positive_anchors"] >= 1 and counts["negative_anchors"] > 0

    def test_unknown_pixels_and_padding_teach_nothing(self):
        image, labels = draw((64, 64), 1, 3)
        unknown = np.where(labels > 0, labels, UNKNOWN).astype(np.int32)
        loss = thin().loss
        partial = with_background(to_tensor(image), to_target(unknown), "near", 4)
        targets = [partial, to_target(np.zeros((40, 64), np.int32))]
        known = [torch.from_numpy(known_pixels(target)) for target in targets]
        # Of the first: its nucleus and 4 pixels around it. Of the second: all.
        rows, cols = np.nonzero(labels)
        top, left, bottom, right = rows.min() - 4, cols.min() - 4, rows.max() + 5, cols.max() + 5
        assert known[0][top:bottom, left:right].sum() == known[0].sum() > (labels > 0).sum()
        assert known[1].all()
        classes = torch.zeros(2, 2, 64, 64, requires_grad=True)
        sum(loss(classes, loss.targets(targets, (64, 64))).values()).backward()
        learned = classes.grad.abs().sum(1) > 0
        assert torch.equal(learned[0], known[0])
        assert learned[1, :40].all() and not learned[1, 40:].any()

    def test_anchors_in_unknown_pixels_are_not_negative(self):
        image, labels = draw((128, 128), 1, 3)
        unknown = np.where(labels > 0, labels, UNKNOWN).astype(np.int32)
        counts = []
        for background in ("all", "near"):
            net = thin(background=background)
            step(net, [to_tensor(image)], [to_target(unknown)])
            counts.append(float(net.step_counts()["negative_anchors"]))
        assert counts[1] < counts[0] / 4

    def test_where_nothing_is_known_all_losses_are_0(self):
        image, labels = draw((64, 64), 0, 0)
        losses = step(thin(), [to_tensor(image)], [to_target(np.full_like(labels, UNKNOWN))])
        assert all(value == 0 for value in losses.values())

    def test_dice_of_logits_by_hand(self):
        # Logits (1, 2) and (3, 0) where (0, 1) and (1, 0) are right: 1 - 2 (2 + 3) / (14 + 2).
        classes = torch.tensor([[[[1.0, 3.0]], [[2.0, 0.0]]]])
        inside, known = torch.tensor([[[1.0, 0.0]]]), torch.ones(1, 1, 2, dtype=torch.bool)
        assert dice_of_logits(classes, inside, known).item() == pytest.approx(1 - 10 / 16)
        image, labels = draw((64, 64), 5, 0)
        pair = [to_tensor(image)], [to_target(labels)]
        first, second = step(thin(), *pair), step(thin(dice_of_logits=True), *pair)
        assert first["loss_dice"] != second["loss_dice"]
        assert first["loss_entropy"] == second["loss_entropy"]


class TestNuclei:
    """From a foreground and boxes to nuclei, with a net that was given its maps."""

    SIZE = (64, 64)

    def found(self, net, labels, boxes=()):
        """What a net computes that is sure of these nuclei's foreground, and of these boxes."""
        inside = torch.from_numpy(labels > 0).float() * 8 - 4
        target = to_target(labels)
        pieces = torch.from_numpy(net._pieces(labels > 0, 4))
        anchors = net.rpn.anchors((4, 4), boxes_of(pieces, int(pieces.max())))
        scores, deltas = torch.zeros(1, len(anchors), 2), torch.zeros(1, len(anchors), 4)
        for place in boxes:
            box = target["boxes"][place]
            middles = (anchors[:, :2] + anchors[:, 2:]) / 2
            near = (middles - (box[:2] + box[2:]) / 2).square().sum(1).argmin()
            scores[0, near, 1] = 5
            deltas[0, near] = net.rpn.coder.encode_single(box[None], anchors[near][None])[0]
        return Found(torch.stack([-inside, inside])[None] / 2, scores, deltas, (4, 4))

    def touching(self):
        labels = np.zeros(self.SIZE, np.int32)
        labels[24:44, 20:32], labels[24:44, 32:44] = 1, 2
        return labels

    def test_two_that_touch_are_cut_by_their_boxes(self):
        net, labels = thin(), self.touching()
        found = net._nuclei(self.found(net, labels, boxes=(0, 1)), 0, self.SIZE, self.SIZE)
        assert len(found["scores"]) == 2
        assert torch.equal(found["label_map"] > 0, torch.from_numpy(labels > 0))
        # Two halves of a rectangle have no waist: the cut may be some pixels beside the middle.
        left, right = found["label_map"][:, :28], found["label_map"][:, 36:]
        assert len(left.unique()) == len(right.unique()) == 2 and left.max() != right.max()
        assert found["scores"].tolist() == pytest.approx([0.98201] * 2, abs=1e-5)  # sigmoid(4)

    def test_without_boxes_or_as_components_they_are_one(self):
        labels = self.touching()
        net = thin()
        assert len(net._nuclei(self.found(net, labels), 0, self.SIZE, self.SIZE)["scores"]) == 1
        net = thin(instances="components")
        found = net._nuclei(self.found(net, labels, boxes=(0, 1)), 0, self.SIZE, self.SIZE)
        assert len(found["scores"]) == 1

    def test_limits_are_counted(self):
        net, labels = thin(rpn={"max_proposals": 1}), self.touching()
        net._nuclei(self.found(net, labels, boxes=(0, 1)), 0, self.SIZE, self.SIZE)
        assert net.limits_reached == {"rpn.max_proposals=1": 1}

    def test_no_foreground(self):
        net = thin()
        found = net._nuclei(self.found(net, np.zeros(self.SIZE, np.int32)), 0, self.SIZE, self.SIZE)
        assert len(found["scores"]) == 0 and not found["label_map"].any()


@torch.no_grad()
def test_images_of_any_size_and_of_none_in_common():
    net = thin(rpn={"min_score": 0.4}).eval()
    images = [torch.rand(3, 33, 70), torch.rand(3, 1, 40), torch.rand(3, 50, 17)]
    found = net(images)
    assert [f["label_map"].shape for f in found] == [(33, 70), (1, 40), (50, 17)]


@pytest.mark.slow
def test_it_learns():
    image, labels = draw((64, 64), 5, 0)
    net = thin(norm=True)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    losses = []
    for seed in range(30):
        total = sum(step(net, [to_tensor(image)], [to_target(labels)], seed).values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(total.item())
    assert np.mean(losses[-5:]) < 0.6 * losses[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"background": "some"}, r"model\.background=some is unknown"),
        ({"instances": "boxes"}, r"model\.instances=boxes is unknown"),
        ({"size_connectivity": 6}, r"model\.size_connectivity=6 is unknown"),
        ({"clean": -1}, r"model\.clean=-1 is too small"),
        ({"border_variance": 0}, r"model\.border_variance=0 is too small"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(UserError, match=message):
        nuset(width=2, **options)


def test_its_experiment_names_keys_that_exist():
    config = compose("train", ["experiment=nuset_bbbc038"])
    assert config.model._target_ == "nucleist.models.nuset"
    assert config.optim.optimizer._target_ == "torch.optim.RMSprop"
