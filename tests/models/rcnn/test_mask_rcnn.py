"""The nets against torchvision's own Mask R-CNN: same numbers from label maps as from masks."""

from collections import OrderedDict

import pytest
import torch
from conftest import BACKBONE, CONFIG, TRANSFORM
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN, resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import MultiScaleRoIAlign

from nucleist.models import compact_fpn, mask_rcnn, mask_rcnn_pa, resnet_fpn
from nucleist.models.backbones import CompactBody
from nucleist.types import UserError

pytestmark = pytest.mark.slow

NOTHING_FOUND = {"threshold": 1.0}
ADDED = ("attention", "center_head")


class NativeTransform(GeneralizedRCNNTransform):
    """Stock, without the resize."""

    def resize(self, image, target=None):
        return image, target


def stock_of(net, min_size=None):
    """Torchvision's Mask R-CNN with the parameters and the weights of one of ours."""
    widths, levels = BACKBONE["widths"], CONFIG["roi_levels"]
    body = CompactBody(BACKBONE["stem"], widths)
    layers = {f"layer{i + 1}": str(i) for i in range(3)}
    backbone = BackboneWithFPN(body, layers, list(widths), BACKBONE["channels"])
    sizes = tuple(tuple(level) for level in CONFIG["anchor_sizes"])
    rpn, roi, mask = CONFIG["rpn"], CONFIG["roi"], CONFIG["mask_head"]
    stock = MaskRCNN(
        backbone,
        min_size=min_size or 64,
        max_size=TRANSFORM["max_size"],
        image_mean=TRANSFORM["image_mean"],
        image_std=TRANSFORM["image_std"],
        rpn_anchor_generator=AnchorGenerator(sizes, (tuple(CONFIG["anchor_ratios"]),) * 4),
        rpn_pre_nms_top_n_train=rpn["pre_nms_top_n"]["training"],
        rpn_pre_nms_top_n_test=rpn["pre_nms_top_n"]["testing"],
        rpn_post_nms_top_n_train=rpn["post_nms_top_n"]["training"],
        rpn_post_nms_top_n_test=rpn["post_nms_top_n"]["testing"],
        rpn_batch_size_per_image=rpn["batch_size_per_image"],
        box_roi_pool=MultiScaleRoIAlign(levels, 7, 2),
        box_head=TwoMLPHead(BACKBONE["channels"] * 49, CONFIG["box_head"]),
        box_predictor=FastRCNNPredictor(CONFIG["box_head"], 2),
        box_detections_per_img=1000,
        box_batch_size_per_image=roi["batch_size_per_image"],
        box_positive_fraction=roi["positive_fraction"],
        mask_roi_pool=MultiScaleRoIAlign(levels, 14, 2),
        mask_head=MaskRCNNHeads(BACKBONE["channels"], mask, 1),
        mask_predictor=MaskRCNNPredictor(mask[-1], mask[-1], 2),
    )
    if min_size is None:
        kept = stock.transform
        stock.transform = NativeTransform(
            64, kept.max_size, kept.image_mean, kept.image_std, kept.size_divisible
        )
    stock.rpn.box_coder.weights = (10.0, 10.0, 5.0, 5.0)
    stock.rpn.min_size = 0.01
    shared = {k: v for k, v in net.state_dict().items() if not any(a in k for a in ADDED)}
    stock.load_state_dict(shared)
    return stock


def with_masks(targets):
    """The same targets with a mask per nucleus, as torchvision wants them."""
    return [
        {
            "boxes": t["boxes"],
            "labels": torch.ones(len(t["boxes"]), dtype=torch.int64),
            "masks": torch.stack([t["label_map"] == i + 1 for i in range(len(t["boxes"]))]).byte(),
        }
        for t in targets
    ]


def plain(make_net, **options):
    return make_net(**options)


def partial_never_finding(make_net, **options):
    return make_net(pa=True, center=NOTHING_FOUND, **options)


def partial_too_low_to_find(make_net, **options):
    net = make_net(pa=True, center={"threshold": 0.95}, **options)
    torch.nn.init.constant_(net.rpn.center_head.logits.bias, -20)
    return net


def partial_without_fused_attention(make_net, **options):
    net = make_net(pa=True, center=NOTHING_FOUND, attention=["p2", "p3", "p4"], **options)
    for attention in net.backbone.fpn.extra_blocks.attention.values():
        torch.nn.init.zeros_(attention.fuse.weight)
        torch.nn.init.zeros_(attention.fuse.bias)
    return net


AS_TORCHVISION = {"mask_alignment": "torchvision"}
NETS = [plain, partial_never_finding, partial_too_low_to_find, partial_without_fused_attention]


@pytest.mark.parametrize("min_size", [None, 64, 96, 40])
@pytest.mark.parametrize("make", NETS)
def test_losses_are_those_of_stock_torchvision(make, min_size, make_net, make_batch):
    net = make(make_net, transform={"min_size": min_size}, **AS_TORCHVISION).train()
    stock = stock_of(net, min_size).train()
    images, targets = make_batch((64, 64), (64, 96), (80, 64))
    for seed in (1, 2):
        torch.manual_seed(seed)
        wanted = stock(images, with_masks(targets))
        torch.manual_seed(seed)
        got = net(images, targets)
        added = {"loss_centerness", "loss_center_box"} if make is not plain else set()
        assert got.keys() == wanted.keys() | added
        # Attention that adds 0 gives a copy, which some processors convolve in another order.
        limit = 1e-6 if make is partial_without_fused_attention else 0.0
        for name in wanted.keys() - {"loss_mask"}:
            torch.testing.assert_close(got[name], wanted[name], rtol=limit, atol=0.0, msg=name)
        assert wanted["loss_mask"] > 0
        assert abs(got["loss_mask"] - wanted["loss_mask"]) < 1e-5


@pytest.mark.parametrize("make", NETS)
def test_gradients_are_those_of_stock_torchvision(make, make_net, make_batch):
    net = make(make_net, **AS_TORCHVISION).train()
    stock = stock_of(net).train()
    images, targets = make_batch((64, 64), (64, 96))
    for each, wanted in ((net, targets), (stock, with_masks(targets))):
        torch.manual_seed(0)
        losses = each(images, wanted)
        sum(value for name, value in losses.items() if "center" not in name).backward()
    ours = dict(net.named_parameters())
    for name, parameter in stock.named_parameters():
        torch.testing.assert_close(ours[name].grad, parameter.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("min_size", [None, 96, 40])
@pytest.mark.parametrize("make", NETS)
def test_predictions_are_those_of_stock_torchvision(make, min_size, make_net, make_batch):
    net = make(make_net, transform={"min_size": min_size}, **AS_TORCHVISION).eval()
    torch.nn.init.normal_(net.roi_heads.box_predictor.cls_score.weight, std=0.5)  # scores differ
    torch.nn.init.normal_(net.roi_heads.mask_predictor.mask_fcn_logits.weight, std=5)
    stock = stock_of(net, min_size).eval()
    images, _ = make_batch((64, 64), (64, 96), (80, 64))
    with torch.no_grad():
        for got, wanted in zip(net(images), stock(images), strict=True):
            label_map = torch.zeros(got["label_map"].shape, dtype=torch.int32)
            visible = []
            for i, mask in enumerate(wanted["masks"][:, 0] > 0.5):
                free = mask & (label_map == 0)
                if free.any():  # a detection without a pixel is not in a label map
                    visible.append(i)
                    label_map[free] = len(visible)
            assert len(visible) > 3
            assert torch.equal(got["label_map"], label_map)
            for key in ("boxes", "scores"):
                assert torch.equal(got[key], wanted[key][visible]), key


def test_proposals_have_a_least_size(make_net, make_batch):
    images, _ = make_batch((64, 64))
    shortest = {}
    for least in (0.01, 15.0):
        net = make_net(rpn_min_size=least).eval()
        batch, _ = net.transform(images)
        (proposals,), _ = net.rpn(batch, net.backbone(batch.tensors))
        shortest[least] = (proposals[:, 2:] - proposals[:, :2]).amin()
    assert make_net().rpn.min_size == 0.01  # the authors'
    assert shortest[0.01] < 15 <= shortest[15.0]


def test_predictions_of_an_image_without_detections(make_net, make_batch):
    net = make_net(roi={"score_thresh": 0.999}).eval()
    images, _ = make_batch((64, 80))
    (got,) = net(images)
    assert got["boxes"].shape == (0, 4) and got["scores"].shape == (0,)
    assert got["label_map"].shape == (64, 80) and got["label_map"].dtype == torch.int32
    assert not got["label_map"].any()


@pytest.mark.parametrize("min_size", [None, 40])
def test_label_map_of_a_prediction_is_numbered_by_rank(min_size, make_net, make_batch):
    net = make_net(transform={"min_size": min_size, "max_lost": 0.3}).eval()
    torch.nn.init.normal_(net.roi_heads.mask_predictor.mask_fcn_logits.weight, std=5)
    images, _ = make_batch((64, 80))
    (got,) = net(images)
    assert (got["scores"].diff() <= 0).all()
    numbers = got["label_map"].unique()
    assert numbers[numbers > 0].tolist() == list(range(1, len(got["scores"]) + 1))


@pytest.mark.parametrize("key", ["boxes", "label_map"])
def test_a_target_that_lacks_something_is_refused(key, make_net, make_batch):
    images, (target,) = make_batch((64, 64))
    with pytest.raises(ValueError, match=f"`{key}`"):
        make_net().train()(images, [{k: v for k, v in target.items() if k != key}])


ALL_LEVELS = ["c4", "c5", "p2", "p3", "p4", "p5"]
PAPER = {
    "anchor_sizes": [[8], [16], [32], [64], [128]],
    "anchor_ratios": [0.5, 1.0, 2.0],
    "transform": {**TRANSFORM, "min_size": 360},
}


def elements(net):
    """Numbers in the state dict: weights and the buffers of frozen normalisation."""
    return sum(value.numel() for value in net.state_dict().values())


def test_the_papers_nets_have_the_papers_sizes():
    # IEEE Access, Table 2: 102.1 M and 103.1 M
    with torch.device("meta"):
        baseline = mask_rcnn(resnet_fpn("resnext101_64x4d", norm_eps=0.0), **PAPER)
        attended = resnet_fpn("resnext101_64x4d", ALL_LEVELS, norm_eps=0.0)
        partial = mask_rcnn_pa(attended, {"anchor_size": [32, 32]}, **PAPER)
    assert elements(baseline) == 102_076_635
    assert elements(partial) == 103_131_744
    head = partial.rpn.center_head
    assert sum(p.numel() for p in head.parameters()) == 1_285
    levels = partial.backbone.fpn.extra_blocks.attention
    assert sum(p.numel() for p in levels.parameters()) == 263_936


def test_a_resnet_pyramid_is_torchvisions():
    ours = resnet_fpn("resnet18", trainable_layers=3).eval()
    theirs = resnet_fpn_backbone(backbone_name="resnet18", weights=None, trainable_layers=3).eval()
    theirs.load_state_dict(ours.state_dict())
    frozen = {name: p.requires_grad for name, p in theirs.named_parameters()}
    assert {name: p.requires_grad for name, p in ours.named_parameters()} == frozen
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        got, wanted = ours(image), theirs(image)
    assert isinstance(got, OrderedDict) and got.keys() == wanted.keys()
    assert all(torch.equal(got[level], wanted[level]) for level in wanted)


def test_the_coarsest_level_can_be_left_out():
    assert list(compact_fpn()(torch.zeros(2, 3, 32, 32))) == ["0", "1", "2"]
    with_extra = compact_fpn(extra_level=True)(torch.zeros(2, 3, 32, 32))
    assert [level.shape[-1] for level in with_extra.values()] == [8, 4, 2, 1]


def test_attention_in_the_resnet_is_read_by_the_next_stage():
    net = resnet_fpn("resnet18", ["c4"], trainable_layers=3).eval()
    attention = net.body["layer3"].attention
    assert all(p.requires_grad for p in attention.parameters())
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before = net.body(image)
        attention.fuse.bias += 1  # adds 1 to C4 everywhere
        after = net.body(image)
    torch.testing.assert_close(after["2"], before["2"] + 1)
    assert not torch.allclose(after["3"], before["3"])
    assert torch.equal(after["1"], before["1"])


def test_a_resnet_begins_equal_with_and_without_attention():
    torch.manual_seed(0)
    plain = resnet_fpn("resnet18")
    torch.manual_seed(0)
    attended = resnet_fpn("resnet18", ALL_LEVELS).state_dict()
    assert all(torch.equal(value, attended[key]) for key, value in plain.state_dict().items())


def test_an_unknown_level_is_named():
    with pytest.raises(UserError, match=r"^attention=p7: .* choose from p2, p3, p4$"):
        compact_fpn(["p2", "p7"])
    with pytest.raises(UserError, match=r"^attention=c3:"):
        resnet_fpn("resnet18", ["c3"])
