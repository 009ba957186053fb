"""Partial annotation: where gradients stop, hard images, what found boxes become."""

import pytest
import torch
from conftest import CONFIG

CENTER_LOSSES = {"loss_centerness", "loss_center_box"}


@pytest.fixture
def net(make_net):
    """Untrained, so that about half of the centre cells have a score above 0.5."""
    return make_net(pa=True, attention=["p2"]).train()


def box(left, top, right, bottom):
    return [float(left), float(top), float(right), float(bottom)]


def gradients(net, losses, names):
    """Whether each parameter gets a gradient from some of the losses."""
    net.zero_grad(set_to_none=True)
    sum(losses[name] for name in names).backward(retain_graph=True)
    return {
        name: p.grad is not None and bool(p.grad.any())
        for name, p in net.named_parameters()
        if p.requires_grad
    }


def test_gradients_stop_where_they_should(net, make_batch):
    losses = net(*make_batch((64, 64), (64, 96)))
    assert losses.keys() >= CENTER_LOSSES and net.step_counts()["found_boxes"] > 1
    from_others = gradients(net, losses, losses.keys() - CENTER_LOSSES)
    from_center = gradients(net, losses, CENTER_LOSSES)
    for name in from_others:
        if "center_head" in name:
            assert not from_others[name] and from_center[name], name
        elif name.startswith("roi_heads") or "cls_logits" in name or "bbox_pred" in name:
            assert not from_center[name], name
        elif "rpn.head.conv" in name or "backbone.body" in name or "attention.0" in name:
            assert from_center[name], name  # the trunk is shared
    assert all(reached for name, reached in from_others.items() if "center_head" not in name)


def test_center_losses_alone_are_those_of_the_whole_step(net, make_batch):
    images, targets = make_batch((64, 64), (48, 80))
    torch.manual_seed(0)
    whole = net(images, targets)
    torch.manual_seed(0)
    alone = net.center_losses(images, targets)
    assert alone.keys() == CENTER_LOSSES
    assert all(torch.equal(alone[name], whole[name]) for name in alone)
    sum(alone.values()).backward()
    assert all(p.grad is None for p in net.roi_heads.parameters())
    assert net.rpn.head.cls_logits.weight.grad is None


def test_padding_of_a_batch_changes_no_loss_of_the_centre(make_net, make_batch):
    net = make_net(pa=True, center={"num_samples": 4000}).eval()  # all cells, fixed norms
    small, (target,) = make_batch((64, 64))
    large, (other,) = make_batch((96, 96), count=0)
    net.rpn.train()
    alone = net.center_losses(small, [target])
    together = net.center_losses([*small, *large], [target, other])
    for name in alone:
        # features near the border see the padding: not equal, but no cell more or less counts
        torch.testing.assert_close(together[name], alone[name], rtol=0.05, atol=0)


class Spots(torch.nn.Module):
    """In place of a centre head's maps: single cells found, boxes their anchors."""

    def __init__(self, head, cells, logit=6.0):
        super().__init__()
        self.find = head.find
        self.cells, self.logit = cells, logit

    def forward(self, trunk):
        logits = torch.full((len(trunk), *trunk.shape[2:]), -9.0)
        for row, col in self.cells:
            logits[:, row, col] = self.logit
        return logits, torch.zeros(len(trunk), 4, *trunk.shape[2:])


def probability(logit):
    return torch.tensor(logit).sigmoid().item()


def predicted(make_net, make_batch, center=6.0, classifier=-1.5, **options):
    """Detections of a net that finds the cell (8, 8), a box of 16 px around (32, 32).

    Its classifier gives every proposal the same score, its boxes are the proposals.
    """
    net = make_net(pa=True, center={"threshold": 0.5}, **options).eval()
    predictor = net.roi_heads.box_predictor
    torch.nn.init.zeros_(predictor.cls_score.weight)
    predictor.cls_score.bias.data = torch.tensor([0.0, classifier])
    torch.nn.init.zeros_(predictor.bbox_pred.weight)
    torch.nn.init.zeros_(predictor.bbox_pred.bias)
    torch.nn.init.constant_(net.roi_heads.mask_predictor.mask_fcn_logits.bias, 5.0)
    net.rpn.center_head = Spots(net.rpn.center_head, [(8, 8)], center)
    with torch.no_grad():
        got = net(make_batch((64, 64))[0])[0]
    scores = dict(zip(map(tuple, got["boxes"].tolist()), got["scores"].tolist(), strict=True))
    return scores, scores.pop(tuple(ON_CELL), None)


ON_CELL = box(24, 24, 40, 40)


@pytest.mark.parametrize(
    "final_score, center, classifier, wanted",
    [
        ("override", 6.0, -1.5, 0.999 + 0.0009 * probability(6.0)),
        ("override", 0.5, -1.5, 0.999 + 0.0009 * probability(0.5)),
        ("center", 6.0, -1.5, probability(6.0)),
        ("center", 0.5, -1.5, probability(0.5)),
        ("max", 6.0, -1.5, probability(6.0)),
        ("max", 0.5, 2.5, probability(2.5)),
        ("rcnn", 6.0, -1.5, probability(-1.5)),
    ],
)
def test_final_score_of_a_found_box(make_net, make_batch, final_score, center, classifier, wanted):
    options = {"final_score": final_score, "roi": {**CONFIG["roi"], "nms_thresh": 1.0}}
    others, found = predicted(make_net, make_batch, center, classifier, **options)
    assert found == pytest.approx(wanted, abs=1e-5)
    assert others
    assert list(others.values()) == pytest.approx([probability(classifier)] * len(others))


def test_propose_test_decides_whether_found_boxes_are_detected(make_net, make_batch):
    assert predicted(make_net, make_batch)[1] is not None
    others, found = predicted(make_net, make_batch, propose_test=False)
    assert others and found is None


@pytest.mark.parametrize("attention", [[], ["p2"], ["p2", "p3", "p4"]])
def test_shared_weights_begin_equal_under_one_seed(make_net, attention):
    baseline = make_net(seed=4).state_dict()
    partial = make_net(pa=True, seed=4, attention=attention).state_dict()
    added = partial.keys() - baseline.keys()
    assert baseline.keys() <= partial.keys()
    assert added and all("attention" in key or "center_head" in key for key in added)
    assert all(torch.equal(value, partial[key]) for key, value in baseline.items())
    other = make_net(pa=True, seed=5).state_dict()
    assert not torch.equal(
        other["rpn.center_head.logits.weight"], partial["rpn.center_head.logits.weight"]
    )


@pytest.mark.parametrize("min_size", [None, 40])
def test_center_map_covers_the_image_without_its_padding(make_net, make_batch, min_size):
    net = make_net(pa=True, transform={"min_size": min_size}).eval()
    (image,), _ = make_batch((50, 75))
    score = net.center_map(image)
    assert score.shape == (50, 75)
    # 50 x 75 px: cells of 4 px, the last ones of 2 and 3; at 40 x 60 px: 10 x 15 cells of 5 px
    side = 4 if min_size is None else 5
    blocks = score[:side, :side], score[-2:, -3:] if min_size is None else score[-5:, -5:]
    assert all(len(block.unique()) == 1 for block in blocks)
    assert len(score[:, side - 1 : side + 1].unique()) > len(score[:, :side].unique())
    assert (score > 0).all() and (score < 1).all() and not score.requires_grad


@pytest.mark.parametrize("min_size, scale", [(None, 1.0), (40, 1.25)])
def test_found_boxes_are_in_pixels_of_the_image(make_net, make_batch, min_size, scale):
    net = make_net(pa=True, transform={"min_size": min_size}).eval()
    net.rpn.center_head = Spots(net.rpn.center_head, [(6, 8)])
    (image,), _ = make_batch((50, 75))  # which the net sees as it is or at 40 x 60 px
    # cell (row 6, column 8): 16 x 16 px around x = 32, y = 24
    wanted = [side * scale for side in box(24, 16, 40, 32)]
    assert net.found_boxes(image).tolist() == [wanted]


def test_attention_map_is_of_the_labelled_nuclei(make_net, make_batch):
    net = make_net(pa=True, attention=["p2"]).eval()
    (image,), (target,) = make_batch((50, 75))
    given = net.attention_map(image, target["label_map"])
    assert given.shape == (50, 75) and given.min() >= 0 and given.max() <= 1 and given.std() > 0
    assert not torch.equal(given, net.attention_map(image, target["label_map"] == 1))
    without = make_net(pa=True, attention=["p3"]).eval()
    assert net.can.attention and not without.can.attention
    with pytest.raises(TypeError, match=r"can\.attention"):
        without.attention_map(image, given)


@pytest.mark.parametrize("min_size", [None, 40])
def test_center_target_is_what_the_loss_compares_with(make_net, make_batch, min_size):
    net = make_net(pa=True, transform={"min_size": min_size}, center={"num_samples": 4000})
    (image,), (target,) = make_batch((50, 75))
    ids = torch.tensor([0, 9, 4, 5, 70, 6])[target["label_map"].long()]  # any ids, in any order
    found = net.eval().center_target(image, ids)
    assert found.shape == net.center_map(image).shape and found.dtype == torch.int64
    assert found.unique().tolist() == [-1, 0, 1]
    seen = []
    head = net.rpn.center_head
    sample = head._sample
    head._sample = lambda labels: (seen.append(labels), sample(labels))[1]
    net.train().center_losses([image], [target])
    rows, cols = (13, 19) if min_size is None else (10, 15)
    side = 4 if min_size is None else 5
    grown = seen[0][0, :rows, :cols].repeat_interleave(side, 0).repeat_interleave(side, 1)
    assert torch.equal(grown[:50, :75], found)
    assert (seen[0][0, rows:] == -2).all() and (seen[0][0, :, cols:] == -2).all()


def test_partial_nets_count_and_plain_ones_do_not(make_net, make_batch):
    images, targets = make_batch((64, 64))
    nets = make_net().train(), make_net(pa=True).train()
    for net in nets:
        net(images, targets)
    plain, partial = (net.step_counts().keys() for net in nets)
    assert not plain
    assert partial == {"found_boxes", "label_frequency", "ignored_anchors", "ignored_rois"}


def test_capabilities_follow_the_options(make_net):
    assert not make_net(pa=True).can.models_missing_labels
    assert make_net(pa=True, missed_ratio=0.2).can.models_missing_labels
