"""Anchors and proposals near found boxes are no negatives; all else is torchvision's."""

from types import SimpleNamespace

import pytest
import torch
from torchvision.models.detection._utils import Matcher
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import box_iou

from nucleist.models.rcnn.partial_rpn import impossible
from nucleist.models.rcnn.transform import LabelMapTransform
from nucleist.types import IGNORE


@pytest.fixture
def net(make_net):
    """Untrained, so that about half of the centre cells have a score above 0.5."""
    return make_net(pa=True, attention=["p2"]).train()


def box(left, top, right, bottom):
    return [float(left), float(top), float(right), float(bottom)]


GT = box(300, 300, 340, 340)
"""A nucleus far from the found box."""
FOUND = box(0, 0, 100, 100)


def target_of(real, found=()):
    """Boxes of a target as the RPN passes them on: found ones last, labelled -1."""
    boxes = torch.tensor([*real, *found], dtype=torch.float32).reshape(-1, 4)
    labels = torch.tensor([1] * len(real) + [IGNORE] * len(found))
    return {"boxes": boxes, "labels": labels}


def anchor_labels(net, anchors, target):
    labels, matched = net.rpn.assign_targets_to_anchors([torch.tensor(anchors)], [target])
    return labels[0].tolist(), matched[0]


def stock_anchor_labels(net, anchors, target):
    real = {"boxes": target["boxes"][target["labels"] > 0]}
    anchors = [torch.as_tensor(anchors)]
    stock = SimpleNamespace(proposal_matcher=Matcher(0.7, 0.3, True), box_similarity=box_iou)
    labels, matched = RegionProposalNetwork.assign_targets_to_anchors(stock, anchors, [real])
    return labels[0].tolist(), matched[0]


def roi_labels(net, proposals, target):
    matched, labels = net.roi_heads.assign_targets_to_proposals(
        [torch.as_tensor(proposals)], [target["boxes"]], [target["labels"]]
    )
    return labels[0].tolist(), matched[0].tolist()


def stock_roi_labels(net, proposals, target):
    real = target["labels"] > 0
    matched, labels = RoIHeads.assign_targets_to_proposals(
        SimpleNamespace(proposal_matcher=Matcher(0.5, 0.5)),
        [torch.as_tensor(proposals)],
        [target["boxes"][real]],
        [target["labels"][real]],
    )
    return labels[0].tolist(), matched[0].tolist()


def test_anchors_near_a_found_box_are_left_out(net):
    # Strips of the found 100 x 100 px: IoU = height / 100.
    anchors = [GT, box(0, 0, 100, 90), box(0, 0, 100, 31), box(0, 0, 100, 29), box(200, 0, 220, 20)]
    target = target_of([GT], [FOUND])
    assert stock_anchor_labels(net, anchors, target)[0] == [1, 0, 0, 0, 0]
    assert anchor_labels(net, anchors, target)[0] == [1, -1, -1, 0, 0]
    assert net.step_counts()["ignored_anchors"] == 2


def test_the_best_anchor_of_a_found_box_is_left_out_below_the_threshold(net):
    anchors = [GT, box(0, 0, 100, 29), box(0, 0, 100, 20), box(200, 0, 220, 20)]
    assert anchor_labels(net, anchors, target_of([GT], [FOUND]))[0] == [1, -1, 0, 0]


def test_positives_and_regression_targets_never_change(net):
    # The found box is where the nucleus is: anchors on both stay positive, with its box.
    anchors = [box(0, 0, 100, 100), box(0, 0, 100, 75), box(0, 0, 100, 50), box(0, 0, 100, 20)]
    target = target_of([box(0, 0, 100, 96)], [FOUND])
    labels, matched = anchor_labels(net, anchors, target)
    wanted, wanted_matched = stock_anchor_labels(net, anchors, target)
    assert labels == wanted == [1, 1, -1, 0]
    assert torch.equal(matched, wanted_matched)


def test_a_found_box_without_area_changes_nothing(net):
    anchors = [GT, box(0, 0, 100, 31), box(0, 0, 100, 20), box(200, 0, 220, 20)]
    with_one = target_of([GT], [FOUND])
    with_empty = target_of([GT], [FOUND, box(50, 50, 50, 60), box(999, 999, 999, 999)])
    assert anchor_labels(net, anchors, with_empty)[0] == anchor_labels(net, anchors, with_one)[0]
    only_empty = target_of([GT], [box(50, 50, 50, 60)])
    assert anchor_labels(net, anchors, only_empty)[0] == [1, 0, 0, 0]


def test_without_annotated_nuclei_found_boxes_still_protect(net):
    anchors = [box(0, 0, 100, 90), box(200, 0, 220, 20)]
    assert anchor_labels(net, anchors, target_of([], [FOUND]))[0] == [-1, 0]
    assert roi_labels(net, anchors, target_of([], [FOUND]))[0] == [-1, 0]


def test_proposals_near_a_found_box_are_left_out(net):
    # Against the nucleus [0, 0, 100, 20] the strip of 60 rows has IoU 1/3, the one of 10 rows
    # 1/2; against the found box 0.6 and 0.1.
    proposals = [box(0, 0, 100, 60), box(0, 0, 100, 10), box(0, 0, 100, 49), box(200, 0, 220, 20)]
    target = target_of([box(0, 0, 100, 20)], [FOUND])
    assert stock_roi_labels(net, proposals, target)[0] == [0, 1, 0, 0]
    assert roi_labels(net, proposals, target)[0] == [-1, 1, 0, 0]
    assert net.step_counts()["ignored_rois"] == 1


def test_a_proposal_on_a_nucleus_stays_positive(net):
    # [0, 0, 100, 60]: IoU 0.6 with the found box and 1 with the second nucleus
    target = target_of([GT, box(0, 0, 100, 60)], [FOUND])
    assert roi_labels(net, [box(0, 0, 100, 60)], target) == ([1], [1])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [0, 1, 6])
def test_with_nothing_found_labels_are_torchvisions(net, seed, count):
    generator = torch.Generator().manual_seed(seed)
    low = 80 * torch.rand(count + 300, 2, generator=generator)
    boxes = torch.cat([low, low + 4 + 36 * torch.rand(len(low), 2, generator=generator)], 1)
    target = {"boxes": boxes[:count], "labels": torch.ones(count, dtype=torch.int64)}
    candidates = boxes[count:]
    labels, matched = anchor_labels(net, candidates.tolist(), target)
    wanted, wanted_matched = stock_anchor_labels(net, candidates.tolist(), target)
    assert labels == wanted and torch.equal(matched, wanted_matched)
    assert roi_labels(net, candidates, target) == stock_roi_labels(net, candidates, target)


@pytest.mark.parametrize("seed", range(5))
def test_suppression_by_the_definition(net, seed):
    """The best anchor of each found box and all at 0.3 or more are lost, as negatives only."""
    generator = torch.Generator().manual_seed(seed)
    low = 100 * torch.rand(310, 2, generator=generator)
    boxes = torch.cat([low, low + 4 + 36 * torch.rand(310, 2, generator=generator)], 1)
    target = target_of(boxes[:4].tolist(), boxes[4:10].tolist())
    anchors = boxes[10:]
    iou = box_iou(boxes[4:10], anchors)
    near = (iou.amax(0) >= 0.3) | (iou == iou.amax(1, keepdim=True)).any(0)
    stock = torch.tensor(stock_anchor_labels(net, anchors.tolist(), target)[0])
    wanted = torch.where((stock == 0) & near, -1, stock)
    assert anchor_labels(net, anchors.tolist(), target)[0] == wanted.tolist()
    stock = torch.tensor(stock_roi_labels(net, anchors, target)[0])
    wanted = torch.where((stock == 0) & (iou.amax(0) >= 0.5), -1, stock)
    assert roi_labels(net, anchors, target)[0] == wanted.tolist()


def test_suppress_rpn_and_suppress_roi_switch_it_off(make_net, make_batch):
    images, targets = make_batch((64, 64), (64, 64))
    seen = {}
    for rpn in (True, False):
        for roi in (True, False):
            net = make_net(pa=True, suppress_rpn=rpn, suppress_roi=roi).train()
            torch.manual_seed(0)
            losses = net(images, targets)
            assert net.step_counts()["found_boxes"] > 2
            assert bool(net.step_counts()["ignored_anchors"] > 0) == rpn
            assert bool(net.step_counts()["ignored_rois"] > 0) == roi
            seen[rpn, roi] = losses
    # What is not suppressed is as if nothing had been found.
    blind = make_net(pa=True, center={"threshold": 1.0}).train()
    torch.manual_seed(0)
    blind = blind(images, targets)
    assert all(torch.equal(seen[False, False][name], blind[name]) for name in blind)
    assert not torch.equal(seen[True, False]["loss_objectness"], blind["loss_objectness"])
    assert not torch.equal(seen[False, True]["loss_classifier"], blind["loss_classifier"])


def test_found_boxes_are_proposals_in_training(net):
    found = box(10, 10, 30, 30)
    real = box(12, 10, 30, 30)  # IoU 0.9: the found box is one more positive of the nucleus
    proposals, _, labels, _ = net.roi_heads.select_training_samples(
        [torch.tensor([box(40, 40, 60, 60)])], [{**target_of([real], [found]), "label_map": None}]
    )
    assert found in proposals[0][labels[0] == 1].tolist()
    assert real in proposals[0][labels[0] == 1].tolist()
    proposals, _, labels, _ = net.roi_heads.select_training_samples(
        [torch.tensor([box(40, 40, 60, 60)])],
        [{**target_of([box(50, 0, 64, 9)], [found]), "label_map": None}],
    )
    assert found not in proposals[0].tolist()  # on nothing annotated: neither one nor the other


def complete_target(known=None):
    """A nucleus at rows and columns 300 to 340; the rest is background, known as given."""
    label_map = torch.zeros(400, 400, dtype=torch.int32)
    label_map[300:340, 300:340] = 1
    target = {"boxes": torch.tensor([GT]), "label_map": label_map}
    return target if known is None else {**target, "known": known}


def test_boxes_on_certain_background_are_impossible():
    boxes = torch.tensor([FOUND, GT, box(290, 290, 342, 342), box(340, 340, 340.5, 400)])
    everywhere = impossible(boxes, complete_target())
    assert everywhere.tolist() == [True, False, False, True]
    nowhere = complete_target()["label_map"] > 0
    assert not impossible(boxes, complete_target(nowhere)).any()
    left = nowhere.clone()
    left[:, :60] = True  # complete up to column 60
    assert impossible(boxes, complete_target(left)).tolist() == [True, False, False, False]
    left[:, 50:60] = False  # half of the box is not more than half
    assert not impossible(boxes[:1], complete_target(left)).any()


@pytest.mark.parametrize("certain", [True, False])
def test_found_boxes_on_certain_background_are_no_longer_found(make_net, certain):
    net = make_net(pa=True, attention=["p2"], certain_background=certain).train()
    images = [torch.rand(3, 128, 128)] * 2
    label_map = torch.zeros(128, 128, dtype=torch.int32)
    label_map[40:60, 40:60] = 1
    target = {"boxes": torch.tensor([[40.0, 40, 60, 60]]), "label_map": label_map}
    unknown = {**target, "known": label_map > 0}
    torch.manual_seed(0)
    net(images, [unknown, unknown])
    partial = int(net.step_counts()["found_boxes"])
    torch.manual_seed(0)
    net(images, [target, target])
    assert partial > 20
    complete = int(net.step_counts()["found_boxes"])
    assert complete < partial / 2 if certain else complete == partial


def test_what_is_known_is_resized_with_the_label_map():
    known = torch.zeros(40, 60, dtype=torch.bool)
    known[:, :30] = True
    target = {"boxes": torch.zeros(0, 4), "label_map": known.int(), "known": known}
    _, resized = LabelMapTransform(80).resize(torch.rand(3, 40, 60), target)
    assert resized["known"].dtype == torch.bool
    assert (resized["known"] == (resized["label_map"] > 0)).all()
