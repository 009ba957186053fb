"""Limits at inference grow with the image; one counts where a nucleus was lost to it."""

import pytest
import torch
from torchvision.models.detection.rpn import RegionProposalNetwork

from nucleist.ops.labels import at_threshold
from nucleist.types import UserError


def proposals_of(net, size, share, caps_area):
    """Number of proposals, and how many each cap cut, if a share of the anchors has a high score.

    The boxes lie side by side, or suppression would thin them out.
    """
    net.rpn.caps_area = caps_area
    levels = [(size // s) ** 2 * 3 for s in (4, 8, 16, 32)]
    total = sum(levels)
    place = torch.arange(total).float() * 7  # no two boxes overlap
    boxes = torch.stack([place, place, place + 5, place + 5], 1)[None]
    objectness = torch.where(torch.arange(total) % 10 < share * 10, 2.0, -2.0).view(-1, 1)
    shape = (size, size)
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr("torchvision.ops.boxes.clip_boxes_to_image", lambda b, _: b)
        found, scores = net.rpn.filter_proposals(boxes, objectness, [shape], levels)
    assert torch.equal(scores[0], scores[0].sort(descending=True).values)
    return len(found[0]), {name: len(cut[0]) for name, cut in net.rpn.cut.items()}


def test_proposals_that_look_like_nuclei_pass_the_caps(make_net):
    caps = {"training": 40, "testing": 40}
    net = make_net(rpn={"pre_nms_top_n": caps, "post_nms_top_n": caps}).eval()
    # A fifth of 768 + 192 + 48 + 12 is likely; torchvision's fixed caps cut both before and after
    # suppression, and say so. No likely anchor: what they cut is background.
    both = {"rpn.pre_nms_top_n.testing=40": 114, "rpn.post_nms_top_n.testing=40": 50}
    assert proposals_of(net, 64, 0.2, None) == (40, both)
    assert proposals_of(net, 64, 0.0, None) == proposals_of(net, 64, 0.0, 1.0) == (40, {})
    found, reached = proposals_of(net, 64, 0.2, 64 * 64 / 4)
    assert found == 154 + 38 + 10 + 2 and reached == {}  # of level 1 up to 4 x 40 anchors
    # For images of 64 x 64 px the cap of 40 anchors a level is the limit, and it says so.
    found, reached = proposals_of(net, 64, 0.2, 64 * 64)
    assert found == 40 + 38 + 10 + 2 and reached == {"rpn.pre_nms_top_n.testing=40": 114}


def test_a_cap_after_suppression_is_counted_alone(make_net):
    """154 likely anchors at most in a level, 204 in all: only the second cap binds."""
    caps = {"training": 40, "testing": 160}
    net = make_net(rpn={"pre_nms_top_n": caps, "post_nms_top_n": caps}).eval()
    assert proposals_of(net, 64, 0.2, None) == (160, {"rpn.post_nms_top_n.testing=160": 44})
    net.rpn._post_nms_top_n["testing"] = 204
    assert proposals_of(net, 64, 0.2, None) == (204, {})


def test_in_training_and_at_inference_the_fixed_caps_are_torchvision_s(make_net):
    caps = {"training": 50, "testing": 30}
    net = make_net(rpn={"pre_nms_top_n": caps, "post_nms_top_n": caps})
    net.rpn.caps_area = None
    levels = [768, 192, 48, 12]
    corner = torch.rand(2, 1020, 2) * 50
    boxes = torch.cat([corner, corner + 4 + torch.rand(2, 1020, 2) * 10], 2)
    inputs = boxes, torch.randn(2040, 1) * 3, [(64, 64), (64, 64)], levels
    for mode in (True, False):
        net.train(mode)
        found = net.rpn.filter_proposals(*inputs)
        expected = RegionProposalNetwork.filter_proposals(net.rpn, *inputs)
        for ours, theirs in zip(found, expected, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
        assert bool(net.rpn.cut) is not mode  # in training a cut is no loss
        assert {len(b) for b in found[0]} == {caps["training" if mode else "testing"]}


def test_a_cap_that_cuts_is_counted(make_net):
    net = make_net(roi={"score_thresh": 0.0, "nms_thresh": 0.9, "detections_per_img": 3}).eval()
    with torch.no_grad():
        found = net([torch.rand(3, 64, 64), torch.rand(3, 64, 64)])
    assert max(len(f["scores"]) for f in found) <= 3
    assert net.limits_reached["roi.detections_per_img=3"] == 2
    net.limits_reached.clear()
    net.roi_heads.detections_per_img = 100_000
    net.roi_heads.caps_area = None
    with torch.no_grad():
        net([torch.rand(3, 64, 64)])
    assert not [name for name in net.limits_reached if "detections" in name]


@pytest.mark.parametrize("pa", [False, True])
@pytest.mark.parametrize(
    ("cut", "score", "lost"),
    [
        ([[40.0, 40, 60, 60]], 3.0, 1),  # a nucleus of its own
        ([[11.0, 10, 31, 30], [10, 10, 30, 31]], 3.0, 0),  # a detected one again
        ([[40.0, 40, 60, 60]], -3.0, 0),  # the classifier does not take it for a nucleus
        ([], 3.0, 0),
    ],
)
def test_a_cap_on_proposals_counts_where_it_cost_a_nucleus(make_net, pa, cut, score, lost):
    """The alarm was needless where a raised cap would have found the same."""
    net = make_net(pa=pa, roi={"score_thresh": 0.5, "detections_per_img": 1}).eval()
    assert net.roi_heads.cut is net.rpn.cut and net.roi_heads.limits_reached is net.limits_reached

    def classify(features, boxes, shapes):
        count = sum(map(len, boxes))
        scores = [3.0] if count == 1 and boxes[0][0, 0] == 10 else [score] * count
        return torch.tensor([[0.0, s] for s in scores]), torch.zeros(count, 8)

    proposals = torch.tensor([[10.0, 10, 30, 30]])
    proposals = torch.nn.functional.pad(proposals, (0, 1)) if pa else proposals
    net.rpn.cut["a=1"] = [torch.tensor(cut).view(-1, 4)]
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(net.roi_heads, "_classify", classify)
        found = net.roi_heads.detect(*classify(None, [proposals], None), [proposals], [(64, 64)])
        net.roi_heads._count_lost({}, found[0], [proposals], [(64, 64)])
    assert net.limits_reached == ({"a=1": 1} if lost else {})


def test_one_number_is_the_cap_in_training_and_at_inference(make_net):
    net = make_net(rpn={"pre_nms_top_n": 70})
    assert net.rpn._pre_nms_top_n == {"training": 70, "testing": 70}
    for wrong in (0, "many", True, {"testing": 5}):
        with pytest.raises(UserError, match=r"model\.rpn\.post_nms_top_n=.*: give a whole number"):
            make_net(rpn={"post_nms_top_n": wrong})


def test_leaving_low_scores_out_before_their_masks_changes_no_other(make_net):
    net = make_net(transform={"max_lost": 0.7}).eval()
    torch.nn.init.constant_(net.roi_heads.mask_predictor.mask_fcn_logits.bias, 1.0)
    image = torch.rand(3, 64, 64)
    with torch.no_grad():
        whole = net([image])[0]
        threshold = net.score_floor = float(whole["scores"].median())
        part = net([image])[0]
        net.score_floor = 0.0
        again = net([image])[0]
    assert 0 < len(part["scores"]) < len(whole["scores"])
    assert torch.equal(part["label_map"], at_threshold(whole, threshold))
    assert torch.equal(again["scores"], whole["scores"])  # never below roi.score_thresh


def test_an_image_without_a_single_proposal(make_net):
    net = make_net(pa=True, center={"threshold": 1.0}).eval()
    net.rpn.score_thresh = 2.0  # no objectness is that high
    with torch.no_grad():
        (found,) = net([torch.rand(3, 64, 64)])
    assert len(found["scores"]) == 0 and not found["label_map"].any()
