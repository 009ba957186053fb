"""Detectron's pickle: every name, the conversions by value, and nothing executed."""

import os
import pickle
import struct
from collections import OrderedDict

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support.nets import StockMaskRCNN
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN, resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.ops import FrozenBatchNorm2d

from nucleist.models.weights.detectron import (
    blob_to_key,
    convert_blobs,
    load_detectron,
    read_blobs,
    rescale_rpn_deltas,
)
from nucleist.models.weights.load import load_weights
from nucleist.types import UserError

pytestmark = pytest.mark.slow

ANCHORS = (((8,), (16,), (32,), (64,), (128,)), ((0.5, 1.0, 2.0),) * 5)
PREDICTORS = ("roi_heads.box_predictor.", "roi_heads.mask_predictor.mask_fcn_logits.")
SMALL = (1, 1, 1, 1)


@pytest.fixture(scope="module")
def paper_shapes():
    """Names and shapes of the paper's net, without its 100 M numbers."""
    with torch.device("meta"):
        backbone = resnet_fpn_backbone(backbone_name="resnext101_64x4d", weights=None)
        net = MaskRCNN(backbone, 2, rpn_anchor_generator=AnchorGenerator(*ANCHORS))
    return {key: tuple(value.shape) for key, value in net.state_dict().items()}


@pytest.fixture
def net():
    """The same modules with one block a stage, 32 groups of one channel and thin heads."""
    torch.manual_seed(0)
    body = ResNet(
        Bottleneck,
        list(SMALL),
        groups=32,
        width_per_group=1,
        norm_layer=lambda width: FrozenBatchNorm2d(width, eps=0.0),
    )
    backbone = BackboneWithFPN(
        body, {f"layer{i + 1}": str(i) for i in range(4)}, [256, 512, 1024, 2048], 16
    )
    net = StockMaskRCNN(
        backbone,
        rpn_anchor_generator=AnchorGenerator(*ANCHORS),
        box_head=TwoMLPHead(16 * 7 * 7, 8),
        box_predictor=FastRCNNPredictor(8, 2),
        mask_head=MaskRCNNHeads(16, (16, 16, 16, 16), 1),
        mask_predictor=MaskRCNNPredictor(16, 16, 2),
    )
    net.rpn.box_coder = BoxCoder((10.0, 10.0, 5.0, 5.0))
    return net.eval()


@pytest.fixture
def blobs(net):
    """Random blobs for the small net, with all that a real file holds beside them."""
    rng = np.random.default_rng(0)
    own = net.state_dict()
    blobs = {
        name: rng.normal(0, 0.05, own[key].shape).astype(np.float32)
        for name, key in blob_to_key(SMALL).items()
    }
    blobs |= {f"{name}_momentum": np.zeros(1, np.float32) for name in list(blobs)}
    for name, classes in (("cls_score", 81), ("bbox_pred", 324), ("mask_fcn_logits", 81)):
        blobs |= {f"{name}_w": np.ones((classes, 8), np.float32)}
        blobs |= {f"{name}_b": np.ones(classes, np.float32)}
    return blobs


def save(path, blobs, protocol=2):
    path.write_bytes(pickle.dumps({"blobs": blobs, "cfg": "MODEL: {}"}, protocol=protocol))
    return path


def python2_pickle(blobs, core="numpy.core"):
    """The opcodes that Python 2's cPickle wrote for a dict of float32 arrays."""

    def text(value):
        return b"T" + struct.pack("<i", len(value)) + value

    def integer(value):
        return b"J" + struct.pack("<i", value)

    def array(value):
        empty = b"cnumpy\nndarray\n" + integer(0) + b"\x85" + text(b"b") + b"\x87R"
        dtype = b"cnumpy\ndtype\n" + text(b"f4") + integer(0) + integer(1) + b"\x87R"
        dtype += b"(" + integer(3) + text(b"<") + b"NNN" + integer(-1) * 2 + integer(0) + b"tb"
        shape = b"(" + b"".join(map(integer, value.shape)) + b"t"
        state = b"(" + integer(1) + shape + dtype + b"\x89" + text(value.tobytes()) + b"tb"
        return f"c{core}.multiarray\n_reconstruct\n".encode() + empty + state

    items = b"".join(text(name.encode()) + array(value) for name, value in blobs.items())
    return b"\x80\x02}(" + text(b"blobs") + b"}(" + items + b"uu."


def test_table_fills_the_paper_net_but_for_the_predictors(paper_shapes):
    table = blob_to_key()
    assert len(set(table.values())) == len(table)
    # 102,076,635 numbers with the frozen statistics: the paper's Table 2 prints 102.1 M.
    assert sum(np.prod(shape, dtype=int) for shape in paper_shapes.values()) == 102_076_635
    statistics = {key for key in paper_shapes if "running_" in key}
    predictors = {key for key in paper_shapes if key.startswith(PREDICTORS)}
    assert set(table.values()) | statistics | predictors == set(paper_shapes)
    assert len(predictors) == 6


@pytest.mark.parametrize(
    ("blob", "shape"),
    [  # written down from Detectron's definition of the net, 64 groups of 4 channels
        ("conv1_w", (64, 3, 7, 7)),
        ("res_conv1_bn_s", (64,)),
        ("res2_0_branch1_w", (256, 64, 1, 1)),
        ("res2_0_branch2b_w", (256, 4, 3, 3)),
        ("res4_22_branch2a_bn_b", (1024,)),
        ("res5_2_branch2c_w", (2048, 2048, 1, 1)),
        ("fpn_inner_res2_2_sum_lateral_w", (256, 256, 1, 1)),
        ("fpn_inner_res3_3_sum_lateral_w", (256, 512, 1, 1)),
        ("fpn_inner_res4_22_sum_lateral_w", (256, 1024, 1, 1)),
        ("fpn_inner_res5_2_sum_w", (256, 2048, 1, 1)),
        ("fpn_res4_22_sum_w", (256, 256, 3, 3)),
        ("conv_rpn_fpn2_b", (256,)),
        ("rpn_cls_logits_fpn2_w", (3, 256, 1, 1)),
        ("rpn_bbox_pred_fpn2_w", (12, 256, 1, 1)),
        ("fc6_w", (1024, 256 * 7 * 7)),
        ("fc7_b", (1024,)),
        ("_[mask]_fcn4_w", (256, 256, 3, 3)),
        ("conv5_mask_w", (256, 256, 2, 2)),
    ],
)
def test_blob_has_the_shape_of_its_key(paper_shapes, blob, shape):
    assert paper_shapes[blob_to_key()[blob]] == shape


def test_pickle_with_the_full_key_list(tmp_path, paper_shapes):
    table = blob_to_key()
    blobs = {name: np.full(1, i, np.float32) for i, name in enumerate(table)}
    extra = ["cls_score_w", "cls_score_b", "bbox_pred_w", "mask_fcn_logits_w", "lr"]
    extra += ["conv1_w_momentum", "weight_order"]
    path = tmp_path / "model_final.pkl"
    path.write_bytes(python2_pickle(blobs | dict.fromkeys(extra, np.zeros(1, np.float32))))
    meta = {key: torch.empty(shape, device="meta") for key, shape in paper_shapes.items()}
    state, unused = load_detectron(path, meta)
    assert unused == extra[:5]
    assert set(state) == {key for key in paper_shapes if not key.startswith(PREDICTORS)}
    for i, key in enumerate(table.values()):
        assert state[key].item() == i


def test_values_arrive_and_the_rest_is_reported(tmp_path, net, blobs):
    path = save(tmp_path / "model_final.pkl", blobs)
    report = load_weights(net, str(path), "resnext101_64x4d")
    state = net.state_dict()
    converted = {"conv1_w", "rpn_bbox_pred_fpn2_w", "rpn_bbox_pred_fpn2_b"}
    for name, key in blob_to_key(SMALL).items():
        if name not in converted:
            np.testing.assert_array_equal(state[key].numpy(), blobs[name], err_msg=name)
    for key, value in state.items():
        if "running_" in key:
            assert torch.equal(value, torch.full_like(value, float(key.endswith("var"))))
    assert len(report.unfilled) == 6
    assert all(key.startswith(PREDICTORS) for key in report.unfilled)
    assert report.loaded == len(state) - 6
    assert set(report.unused) == {
        f"{name}_{end}" for name in ("cls_score", "bbox_pred", "mask_fcn_logits") for end in "wb"
    }
    assert report.notes == ()
    assert "roi_heads.box_predictor (4)" in report.summary()
    assert "\n" not in report.summary()


def test_other_epsilon_is_noted(tmp_path, net, blobs):
    net.backbone.body["bn1"].eps = 1e-5
    report = load_weights(net, str(save(tmp_path / "a.pkl", blobs)), "resnext101_64x4d")
    assert report.notes == ("The file was trained with normalisation eps 0, the net has 1e-05.",)


def test_rgb_in_unit_range_gives_what_bgr_gave(tmp_path, net, blobs):
    load_weights(net, str(save(tmp_path / "a.pkl", blobs)), "resnext101_64x4d")
    rgb = torch.randint(0, 256, (1, 3, 32, 32), generator=torch.Generator().manual_seed(1)).float()
    mean_bgr = torch.tensor([102.9801, 115.9465, 122.7717])
    caffe = rgb.flip(1) - mean_bgr[:, None, None]
    expected = F.conv2d(caffe, torch.from_numpy(blobs["conv1_w"]), stride=2, padding=3)
    mean_rgb = mean_bgr.flip(0)[:, None, None]
    ours = (rgb / 255 - mean_rgb / 255) / (1 / 255)
    found = net.backbone.body["conv1"](ours)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)
    assert not torch.allclose(net.backbone.body["conv1"](ours.flip(1)), expected, atol=1.0)


@pytest.mark.parametrize("rescale", [True, False])
def test_decoded_boxes_survive_the_other_box_coder(tmp_path, net, blobs, rescale):
    path = save(tmp_path / "a.pkl", blobs)
    load_weights(net, str(path), "resnext101_64x4d", rescale_rpn=rescale)
    features = torch.randn(1, 16, 3, 4, generator=torch.Generator().manual_seed(2))
    anchors = torch.tensor([[10.0, 20, 30, 60]]).repeat(3 * 4 * 3, 1)

    def decode(deltas, weights):
        rows = deltas.view(3, 4, 3, 4).permute(2, 3, 0, 1).reshape(-1, 4)  # (cells * anchors, 4)
        return BoxCoder(weights).decode(rows, [anchors])

    before = F.conv2d(
        features,
        torch.from_numpy(blobs["rpn_bbox_pred_fpn2_w"]),
        torch.from_numpy(blobs["rpn_bbox_pred_fpn2_b"]),
    )
    expected = decode(before, (1.0, 1.0, 1.0, 1.0))
    assert (expected - anchors[:, None]).abs().max() > 1  # the boxes do move
    found = decode(net.rpn.head.bbox_pred(features), net.rpn.box_coder.weights)
    assert torch.allclose(found, expected, atol=1e-4) == rescale


def test_rescaling_touches_the_delta_rows_only():
    state = {
        "rpn.head.bbox_pred.weight": torch.ones(8, 2, 1, 1),
        "rpn.head.bbox_pred.bias": torch.ones(8),
        "rpn.head.cls_logits.bias": torch.ones(2),
    }
    new = rescale_rpn_deltas(state, (10, 10, 5, 5), (1, 2, 1, 2))
    rows = torch.tensor([10, 5, 5, 2.5, 10, 5, 5, 2.5])
    assert torch.equal(new["rpn.head.bbox_pred.bias"], rows)
    assert torch.equal(new["rpn.head.bbox_pred.weight"][:, 1, 0, 0], rows)
    assert new["rpn.head.cls_logits.bias"] is state["rpn.head.cls_logits.bias"]
    assert torch.equal(state["rpn.head.bbox_pred.bias"], torch.ones(8))


@pytest.mark.parametrize(
    ("conv_bias", "conv", "norm"),
    [
        ("conv1_b", "conv1", "bn1"),
        ("res3_0_branch2b_b", "layer2.0.conv2", "layer2.0.bn2"),
        ("res3_0_branch1_b", "layer2.0.downsample.0", "layer2.0.downsample.1"),
    ],
)
def test_convolution_bias_is_folded(tmp_path, net, blobs, conv_bias, conv, norm):
    norm_blob = {v: k for k, v in blob_to_key(SMALL).items()}[f"backbone.body.{norm}.weight"]
    scale = blobs[norm_blob]
    shift = blobs[norm_blob[:-1] + "b"]
    bias = np.linspace(-1, 1, len(scale), dtype=np.float32)
    load_weights(net, str(save(tmp_path / "a.pkl", blobs | {conv_bias: bias})), "resnext")
    conv, norm = (net.backbone.body.get_submodule(name) for name in (conv, norm))
    x = torch.randn(1, conv.in_channels, 9, 9, generator=torch.Generator().manual_seed(3))
    wide = (slice(None), None, None)
    biased = conv(x) + torch.from_numpy(bias)[wide]
    expected = torch.from_numpy(scale)[wide] * biased + torch.from_numpy(shift)[wide]
    torch.testing.assert_close(norm(conv(x)), expected)


@pytest.mark.parametrize("core", ["numpy.core", "numpy._core"])
def test_python2_pickle(tmp_path, core):
    # All 256 byte values occur, so a wrong text encoding would show.
    blob = np.frombuffer(bytes(range(256)), "<f4").reshape(4, 16)
    content = python2_pickle({"fc6_w": blob}, core)
    path = tmp_path / "a.pkl"
    path.write_bytes(content)
    assert read_blobs(path)["fc6_w"].tobytes() == blob.tobytes()
    if core == "numpy._core":  # the other path is deprecated in NumPy 2: Python itself agrees
        assert pickle.loads(content, encoding="latin1")["blobs"]["fc6_w"].shape == (4, 16)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_every_protocol_layout_and_number(tmp_path, protocol):
    square = np.arange(6.0).reshape(2, 3)
    blobs = OrderedDict(
        a=square.astype(np.float32),
        b=np.asfortranarray(square),
        c=square.astype(">f4"),
        d=np.arange(3, dtype=np.uint8),
        e=np.float64(0.5),
        weight_order=np.array(["a", None], dtype=object),
    )
    found = read_blobs(save(tmp_path / "a.pkl", blobs, protocol))
    assert set(found) == {"a", "b", "c", "d"}
    for name, value in found.items():
        np.testing.assert_array_equal(value, blobs[name])
        assert value.dtype == blobs[name].dtype


class Command:
    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("name", ["posix.system", "builtins.eval", "builtins.getattr"])
def test_code_is_refused_and_not_run(tmp_path, net, blobs, name, protocol):
    witness = tmp_path / "witness"
    code = f"__import__('os').mkdir({str(witness)!r})"
    calls = {
        "posix.system": Command(os.system, f"mkdir {witness}"),
        "builtins.eval": Command(eval, code),
        "builtins.getattr": Command(getattr, Command(eval, code), "__doc__"),
    }
    path = save(tmp_path / "evil.pkl", blobs | {"x": calls[name]}, protocol)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(UserError, match=r"refused, since it names .* may run code") as error:
        load_weights(net, str(path), "resnext101_64x4d")
    assert name.replace("builtins", "__builtin__" if protocol == 2 else "builtins") in str(
        error.value
    )
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert not witness.exists()
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    pickle.loads(path.read_bytes())  # the same file, read without the guard, does run it
    assert witness.exists()


@pytest.mark.parametrize("names", [("numpy", "ndarray.tofile"), ("collections", "Counter")])
def test_neighbours_of_allowed_names_are_refused(tmp_path, names):
    path = tmp_path / "a.pkl"
    words = b"".join(b"\x8c" + bytes([len(name)]) + name.encode() for name in names)
    path.write_bytes(b"\x80\x04" + words + b"\x93.")
    with pytest.raises(UserError, match=".".join(names)):
        read_blobs(path)


def test_forged_arrays_are_errors_not_crashes(tmp_path):
    objects = {"a": np.array([None, 1], dtype=object)}
    with pytest.raises(UserError, match="in place of numbers"):
        read_blobs(save(tmp_path / "a.pkl", objects))
    short = python2_pickle({"a": np.zeros(4, np.float32)})
    larger = short.replace(b"(J" + struct.pack("<i", 4), b"(J" + struct.pack("<i", 1 << 30))
    (tmp_path / "b.pkl").write_bytes(larger)
    with pytest.raises(UserError, match="not a readable Detectron pickle"):
        read_blobs(tmp_path / "b.pkl")


@pytest.mark.parametrize("content", [b"", b"hello world", pickle.dumps([1, 2]), b"\x80\x02}("])
def test_damaged_file(tmp_path, content):
    path = tmp_path / "a.pkl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.pkl: not a readable Detectron pickle") as error:
        read_blobs(path)
    assert "\n" not in str(error.value)


def test_truncated_file(tmp_path, blobs):
    path = save(tmp_path / "a.pkl", blobs)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match="not a readable"):
        read_blobs(path)


def test_missing_and_unknown_blobs(tmp_path, net, blobs):
    del blobs["res4_0_branch2b_bn_s"]
    blobs["res4_1_branch2a_w"] = np.zeros(1, np.float32)
    path = save(tmp_path / "a.pkl", blobs)
    with pytest.raises(UserError, match=r"1 missing \(res4_0_branch2b_bn_s\), 1 unknown") as error:
        load_weights(net, str(path), "resnext101_64x4d")
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize("blob", ["fc6_w", "conv1_w", "res2_0_branch2b_bn_b"])
def test_wrong_shape_raises_and_leaves_the_net_alone(tmp_path, net, blobs, blob):
    before = {key: value.clone() for key, value in net.state_dict().items()}
    blobs[blob] = np.zeros((5, 7), np.float32)
    with pytest.raises(UserError, match=r"of another shape \(.* \(5, 7\) for \("):
        load_weights(net, str(save(tmp_path / "a.pkl", blobs)), "resnext101_64x4d")
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_bias_of_another_size_raises(blobs):
    with pytest.raises(UserError, match=r"conv1_b has shape \(3,\), its normalisation \(64,\)"):
        convert_blobs(blobs | {"conv1_b": np.zeros(3, np.float32)}, SMALL)


def test_plain_resnets_are_refused(tmp_path, blobs):
    path = save(tmp_path / "a.pkl", blobs)
    state = {f"backbone.body.{k}": v for k, v in ResNet(Bottleneck, SMALL).state_dict().items()}
    for other in (state, {}):
        with pytest.raises(UserError, match="resnext101_64x4d net only"):
            load_detectron(path, other)
