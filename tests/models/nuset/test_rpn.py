"""NuSeT's region proposal network: targets, samples, losses and proposals by hand."""

import math

import pytest
import torch
from torchvision.models.detection._utils import Matcher
from torchvision.ops import box_iou

from nucleist.models.nuset.rpn import NucleusRPN, assign, share_in
from nucleist.types import IGNORE


def boxes(*rows):
    return torch.tensor(rows, dtype=torch.float32).view(-1, 4)


def thin(seed=0, **options):
    torch.manual_seed(seed)
    return NucleusRPN(4, **{"scales": (1.0,), "ratios": (1.0,), **options})


class TestTargets:
    """Which anchors are nuclei."""

    def test_by_iou(self):
        nucleus = boxes([0, 0, 10, 10])
        # IoU 1, 0.7, 0.5, 0.3, 0.2 by the height; the last touches nothing.
        anchors = boxes(*[[0, 0, 10, h] for h in (10, 7, 5, 3, 2)], [20, 20, 30, 30])
        label, matched = assign(nucleus, anchors, 0.7, 0.3)
        assert label.tolist() == [1, 1, IGNORE, IGNORE, 0, 0]
        assert matched.tolist() == [0] * 6

    def test_the_best_of_a_nucleus_is_positive_with_all_ties_and_wins_over_negative(self):
        # Both halves have IoU 0.2, the best there is.
        label, _ = assign(
            boxes([0, 0, 10, 10]), boxes([0, 0, 10, 2], [0, 8, 10, 10], [0, 0, 1, 1]), 0.7, 0.3
        )
        assert label.tolist() == [1, 1, 0]

    def test_a_nucleus_that_touches_no_anchor_makes_none_positive(self):
        nuclei, anchors = (
            boxes([50, 50, 60, 60], [0, 0, 10, 10]),
            boxes([0, 0, 10, 9], [20, 0, 25, 5]),
        )
        label, matched = assign(nuclei, anchors, 0.7, 0.3)
        assert label.tolist() == [1, 0]
        assert matched[0] == 1
        label, _ = assign(nuclei[:1], anchors, 0.7, 0.3)
        assert label.tolist() == [0, 0]

    def test_without_nuclei_all_are_negative(self):
        label, matched = assign(boxes(), boxes([0, 0, 1, 1]), 0.7, 0.3)
        assert label.tolist() == [0] and matched.tolist() == [0]

    def test_where_every_nucleus_touches_an_anchor_it_is_torchvisions_matcher(self):
        torch.manual_seed(0)
        for _ in range(20):
            corner = torch.randint(0, 30, (40, 2)).float()
            anchors = torch.cat([corner, corner + torch.randint(4, 20, (40, 2))], 1)
            nuclei = anchors[:6] + torch.randint(0, 3, (6, 1))
            wanted = Matcher(0.7, 0.3, allow_low_quality_matches=True)(box_iou(nuclei, anchors))
            label, matched = assign(nuclei, anchors, 0.7, 0.3)
            assert torch.equal(label == 1, wanted >= 0)
            assert torch.equal(label == 0, wanted == -1)
            assert torch.equal(matched[label == 1], wanted[wanted >= 0])

    def test_anchors_that_reach_out_of_the_image_are_ignored(self):
        rpn = thin(scales=(1.0, 2.0))
        nucleus = boxes([16, 16, 32, 32])
        anchors = rpn.anchors((3, 3), nucleus)  # squares of 16, one a cell, and of 32 around them
        label, _ = rpn.targets(anchors, nucleus, (48, 47))
        small, large = label.view(3, 3, 2).unbind(-1)
        assert small.tolist() == [[0, 0, IGNORE], [0, 1, IGNORE], [0, 0, IGNORE]]
        # The one around the middle has IoU 1/4 and is inside; all others reach out.
        assert large[1, 1] == 0 and (large == IGNORE).sum() == 8

    def test_padded_boxes_are_an_option(self):
        nucleus = boxes([16, 16, 32, 32])
        anchors = boxes([16, 16, 32, 32], [6, 6, 42, 42])
        label, _ = thin(box_pad=10).targets(anchors, nucleus, (48, 48))
        assert label.tolist() == [0, 1]  # IoU 256 / 1296 and 1

    def test_of_what_is_not_known_no_anchor_is_negative(self):
        rpn = thin()
        known = torch.zeros(48, 48, dtype=torch.bool)
        known[12:36, 12:36] = True
        nucleus = boxes([16, 16, 32, 32])
        anchors = boxes([16, 16, 32, 32], [22, 22, 38, 38], [0, 0, 16, 16], [16, 28, 32, 44])
        label, _ = rpn.targets(anchors, nucleus, (48, 48), known)
        # Known of the others: 14 x 14 of 256 (0.77), 4 x 4, 16 x 8 (exactly the half).
        assert label.tolist() == [1, 0, IGNORE, 0]

    def test_share_of_a_box(self):
        mask = torch.zeros(6, 8, dtype=torch.bool)
        mask[2:4, 3:6] = True
        found = share_in(boxes([3, 2, 6, 4], [0, 0, 8, 6], [-5, -5, 4, 3], [9, 9, 12, 12]), mask)
        assert found.tolist() == pytest.approx([1, 6 / 48, 1 / 12, 0])


class TestLosses:
    """Cross-entropy over samples, smooth L1 over positives."""

    GRID, SIZE = (4, 4), (64, 64)

    def losses(self, rpn, nuclei, known=None, found=None):
        if found is None:
            found = torch.zeros(1, 16, 2), torch.zeros(1, 16, 4)
        return rpn.losses(found, self.GRID, [nuclei], [self.SIZE], [known])

    def test_of_indifferent_logits_and_boxes_that_fit(self):
        losses = self.losses(thin(), boxes([16, 16, 32, 32]))
        assert losses["loss_rpn_class"].item() == pytest.approx(math.log(2))
        assert losses["loss_rpn_box"] == 0

    def test_the_boxes_loss_is_summed_over_four_and_a_mean_over_positives(self):
        # The nucleus is 4 px to the right of the anchor of side 16: dx = 0.25 > 1/9, so the loss
        # is 0.25 - 1/18; a second one fits, and the mean of the two is half of that.
        nuclei = boxes([20, 16, 36, 32], [32, 32, 48, 48])
        losses = self.losses(thin(), nuclei)
        assert losses["loss_rpn_box"].item() == pytest.approx((0.25 - 1 / 18) / 2)

    def test_without_positives_the_boxes_loss_is_0(self):
        rpn = thin()
        losses = self.losses(rpn, boxes(), found=rpn(torch.rand(1, 4, 4, 4)))
        assert losses["loss_rpn_box"] == 0 and losses["loss_rpn_class"] > 0
        sum(losses.values()).backward()
        assert all(p.grad is not None for p in rpn.parameters())

    def test_where_nothing_is_known_both_are_0(self):
        losses = self.losses(thin(), boxes(), torch.zeros(self.SIZE, dtype=torch.bool))
        assert losses == {"loss_rpn_class": 0, "loss_rpn_box": 0}

    def test_at_most_half_of_the_samples_are_positive_and_negatives_fill_up(self):
        nuclei = boxes(*[[16 * x, 0, 16 * x + 16, 16] for x in range(4)])  # 4 of 16 anchors
        # Cross-entropy 0 for nuclei and 1 + something for the others tells how many were drawn.
        logits = torch.tensor([0.0, 100.0]).expand(1, 16, 2)
        for samples, negatives in ((4, 2), (6, 3), (8, 4), (12, 8), (100, 12)):
            losses = self.losses(
                thin(samples=samples), nuclei, found=(logits, torch.zeros(1, 16, 4))
            )
            count = min(samples, 16)
            assert losses["loss_rpn_class"].item() == pytest.approx(100 * negatives / count)

    def test_a_seed_decides_the_samples(self):
        nuclei, found = boxes([16, 16, 32, 32]), (torch.rand(1, 16, 2), torch.zeros(1, 16, 4))
        rpn, results = thin(samples=4), []
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            results.append(self.losses(rpn, nuclei, found=found)["loss_rpn_class"].item())
        assert results[0] == results[1] != results[2]


class TestProposals:
    """Boxes out of logits and offsets."""

    def proposals(self, rpn, anchors, scores, deltas=None, size=(48, 48)):
        logits = torch.tensor([[0.0, math.log(s / (1 - s))] for s in scores])
        deltas = torch.zeros(len(scores), 4) if deltas is None else deltas
        return rpn.proposals(logits, deltas, anchors, size)

    def test_the_lower_of_two_that_overlap_goes(self):
        anchors = boxes([0, 0, 10, 10], [0, 2, 10, 12], [0, 9, 10, 19], [20, 20, 30, 30])
        found = self.proposals(thin(), anchors, (0.9, 0.95, 0.91, 0.5))
        # 1 suppresses 0 (IoU 8/12) and 2 (3/17 = 0.18); the last one's score is too low.
        assert found.boxes.tolist() == [[0, 2, 10, 12]]
        found = self.proposals(thin(nms_iou=0.2, min_score=0.4), anchors, (0.9, 0.95, 0.91, 0.5))
        assert found.boxes.tolist() == [[0, 2, 10, 12], [0, 9, 10, 19], [20, 20, 30, 30]]
        assert found.scores.tolist() == pytest.approx([0.95, 0.91, 0.5])
        assert not found.limits

    def test_offsets_are_decoded_and_boxes_end_at_the_image(self):
        # A quarter of its width (8) to the right and twice as wide (ln 2): x from 6 - 8 to 6 + 8.
        deltas = torch.tensor([[0.25, 0.0, math.log(2), 0.0]])
        found = self.proposals(thin(), boxes([0, 4, 8, 12]), (0.9,), deltas)
        assert found.boxes.tolist() == [pytest.approx([0, 4, 14, 12])]

    def test_boxes_around_a_point_outside_are_left_out(self):
        anchors = boxes([40, 0, 56, 16], [39, 20, 55, 36])
        found = self.proposals(thin(), anchors, (0.9, 0.9))
        assert found.boxes.tolist() == [[39, 20, 48, 36]]

    def test_limits(self):
        anchors = boxes(*[[16 * x, 0, 16 * x + 16, 16] for x in range(3)])
        for option in ("max_anchors", "max_proposals"):
            found = self.proposals(thin(**{option: 2}), anchors, (0.9, 0.92, 0.91))
            assert found.limits == (f"rpn.{option}=2",) and found.scores.tolist() == pytest.approx(
                [0.92, 0.91]
            )


def test_what_it_encodes_it_decodes_again():
    rpn = thin()
    nuclei = boxes([20.0, 16.0, 41.0, 30.0])
    anchors = rpn.anchors((4, 4), nuclei)
    codes = rpn.coder.encode_single(nuclei.expand(16, 4), anchors)
    torch.testing.assert_close(rpn.coder.decode_single(codes, anchors), nuclei.expand(16, 4))


def test_logits_are_in_the_order_of_the_anchors():
    rpn = thin(scales=(1.0, 2.0))
    with torch.no_grad():
        rpn.conv.weight.zero_()
        rpn.cls_logits.weight.zero_()
        rpn.cls_logits.bias.copy_(torch.arange(4.0))
        logits, deltas = rpn(torch.rand(1, 4, 2, 3))
    assert logits.shape == (1, 12, 2) and deltas.shape == (1, 12, 4)
    assert logits[0].view(2, 3, 2, 2)[1, 2].tolist() == [[0, 1], [2, 3]]


def test_the_papers_rpn_has_2_42_million_parameters():
    # 9 * 512^2 + 512, and 21 anchors of 6 numbers from 512 channels.
    count = sum(p.numel() for p in NucleusRPN(512).parameters())
    assert count == 9 * 512**2 + 512 + 21 * 6 * 513 == 2_424_446
