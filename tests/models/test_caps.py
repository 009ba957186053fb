"""Limits at inference grow with the image, and say when they cut what was found."""

import torch

from karyon.ops.labels import at_threshold


def test_caps_grow_with_the_image(make_net):
    net = make_net(caps_area=64 * 64).eval()
    before = net.rpn.post_nms_top_n()
    with torch.no_grad():
        net([torch.rand(3, 128, 128)])
        assert net.rpn.post_nms_top_n() == 4 * before  # of 128 x 128 px
        net([torch.rand(3, 32, 32)])
        assert net.rpn.post_nms_top_n() == before  # never fewer
    net.train()
    assert net.rpn.post_nms_top_n() == net.rpn._post_nms_top_n["training"]


def test_a_cap_that_cuts_is_counted(make_net):
    net = make_net(roi={"score_thresh": 0.0, "nms_thresh": 0.9, "detections_per_img": 3}).eval()
    with torch.no_grad():
        found = net([torch.rand(3, 64, 64), torch.rand(3, 64, 64)])
    assert max(len(f["scores"]) for f in found) <= 3
    assert net.capped["detections_per_img=3"] == 2
    net.capped.clear()
    net.roi_heads.detections_per_img = 100_000
    net.roi_heads.caps_area = None
    with torch.no_grad():
        net([torch.rand(3, 64, 64)])
    assert not [name for name in net.capped if name.startswith("detections")]


def test_a_cap_on_proposals_counts_if_the_last_one_looks_like_a_nucleus(make_net):
    net = make_net(rpn={"post_nms_top_n": {"training": 5, "testing": 5}}).eval()
    for bias, told in ((5.0, {"post_nms_top_n=5": 1}), (-5.0, {})):
        torch.nn.init.constant_(net.rpn.head.cls_logits.bias, bias)
        net.capped.clear()
        with torch.no_grad():
            net([torch.rand(3, 64, 64)])
        assert net.capped == told


def test_leaving_low_scores_out_before_their_masks_changes_no_other(make_net):
    net = make_net(transform={"max_lost": 0.7}).eval()
    torch.nn.init.constant_(net.roi_heads.mask_predictor.mask_fcn_logits.bias, 1.0)
    image = torch.rand(3, 64, 64)
    with torch.no_grad():
        whole = net([image])[0]
        threshold = float(whole["scores"].median())
        net.only_above(threshold)
        part = net([image])[0]
    assert 0 < len(part["scores"]) < len(whole["scores"])
    assert torch.equal(part["label_map"], at_threshold(whole, threshold))
    net.only_above(0.0)
    assert net.roi_heads.score_thresh == threshold  # never lower than it was
