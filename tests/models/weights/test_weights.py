"""Pretrained weights from every source, on thin nets and real files."""

import hashlib
import os
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from safetensors.torch import save_file
from support.nets import StockMaskRCNN
from torch import nn
from torchvision.models import ResNet18_Weights, resnet18
from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.ops import FrozenBatchNorm2d

from nucleist.models import Net
from nucleist.models.weights.load import LoadReport, load_weights
from nucleist.types import UserError

pytestmark = pytest.mark.slow


def make_net(body=None, classes=2, ratios=3, eps=0.0, seed=0):
    """Torchvision's Mask R-CNN, thin, with the paper's RPN box coder."""
    torch.manual_seed(seed)
    norm = partial(FrozenBatchNorm2d, eps=eps)
    body = body or ResNet(BasicBlock, [1, 1, 1, 1], norm_layer=norm)
    backbone = BackboneWithFPN(
        body, {f"layer{i + 1}": str(i) for i in range(4)}, [64, 128, 256, 512], 16
    )
    net = StockMaskRCNN(
        backbone,
        rpn_anchor_generator=AnchorGenerator(((8,),) * 5, (tuple(range(1, ratios + 1)),) * 5),
        box_head=TwoMLPHead(16 * 7 * 7, 8),
        box_predictor=FastRCNNPredictor(8, classes),
        mask_head=MaskRCNNHeads(16, (16, 16, 16, 16), 1),
        mask_predictor=MaskRCNNPredictor(16, 16, classes),
    )
    net.rpn.box_coder = BoxCoder((10.0, 10.0, 5.0, 5.0))
    return net


class Linear(Net):
    """Any net that is no Mask R-CNN."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, images, targets=None):
        return []


def add_partial_parts(net):
    """The names of the modules that partial annotation adds, as the PA net has them."""
    net.rpn.center_head = nn.Conv2d(16, 5, 1)
    net.backbone.body["layer4"].attention = nn.Conv2d(512, 4, 1)
    net.backbone.fpn.extra_blocks.attention = nn.ModuleDict({"0": nn.Conv2d(16, 4, 1)})
    return net


def old_names(state):
    """A state dict as torchvision wrote it in 2019, when the COCO weights were published."""
    renamed = {}
    for key, value in state.items():
        for block in ("inner_blocks", "layer_blocks"):
            for i in range(4):
                key = key.replace(f"{block}.{i}.0.", f"{block}.{i}.")
        key = key.replace("rpn.head.conv.0.0.", "rpn.head.conv.")
        for i in range(4):
            key = key.replace(f"mask_head.{i}.0.", f"mask_head.mask_fcn{i + 1}.")
        renamed[key] = value
    return renamed


def snapshot(net):
    return {key: value.clone() for key, value in net.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Torch's download cache, empty and apart from the user's."""
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def server(monkeypatch):
    """A web server on loopback whose every file is `server.content`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(httpd.content)))
            self.end_headers()
            self.wfile.write(httpd.content)

        def log_message(self, *args):
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.url = f"http://127.0.0.1:{httpd.server_address[1]}"
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield httpd
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.fixture(scope="module")
def imagenet_file(tmp_path_factory):
    """A resnet18 classifier's state dict, as published (older files lack the counters)."""
    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("imagenet") / "resnet18-f37072fd.pth"
    torch.save(resnet18(weights=None).state_dict(), path)
    return path


def test_null_changes_nothing():
    net = make_net()
    before = snapshot(net)
    report = load_weights(net, None, "resnet18")
    assert same(net.state_dict(), before)
    assert report == LoadReport("null", 0, tuple(before))
    assert "no pretrained weights" in report.summary()


@pytest.mark.parametrize("frozen", [True, False])
def test_imagenet_fills_the_body(hub, imagenet_file, frozen):
    (hub / imagenet_file.name).symlink_to(imagenet_file)
    norm = partial(FrozenBatchNorm2d if frozen else nn.BatchNorm2d, eps=1e-5)
    net = add_partial_parts(make_net(resnet18(weights=None, norm_layer=norm)))
    before = snapshot(net)
    report = load_weights(net, "imagenet", "resnet18")
    published = torch.load(imagenet_file, weights_only=True)
    for key, value in net.state_dict().items():
        name = key.removeprefix("backbone.body.")
        if name != key and "attention" not in key:
            assert torch.equal(value, published[name]), key
        else:
            assert torch.equal(value, before[key]), key
    assert report.unused == ("fc.weight", "fc.bias")
    assert "backbone.body.layer4.attention.weight" in report.unfilled
    assert not any("num_batches" in key for key in report.unfilled)
    assert report.notes == ()


def test_imagenet_file_by_path_and_epsilon_note(imagenet_file):
    net = make_net(resnet18(weights=None, norm_layer=partial(FrozenBatchNorm2d, eps=0.0)))
    report = load_weights(net, str(imagenet_file), "resnet18")
    assert report.loaded == 20 * 5  # resnet18: 20 convolutions, each with scale, shift, mean, var
    assert "eps 1e-05, the net has 0" in report.summary()


def test_imagenet_of_another_depth_raises(imagenet_file):
    net = make_net()
    before = snapshot(net)
    with pytest.raises(UserError, match=r"keys unknown \(backbone.body.layer1.1.conv1"):
        load_weights(net, str(imagenet_file), "resnet18")
    assert same(net.state_dict(), before)


@pytest.mark.parametrize("by_path", [False, True])
@pytest.mark.parametrize("names", [old_names, dict])
def test_coco_fills_all_but_the_classes(hub, names, by_path):
    source = make_net(classes=91, seed=1).state_dict()
    url = MaskRCNN_ResNet50_FPN_Weights.COCO_V1.url
    path = hub / url.rsplit("/", 1)[-1]
    torch.save(names(source), path)
    net = add_partial_parts(make_net())
    before = snapshot(net)
    report = load_weights(net, str(path) if by_path else "coco", "resnet50")
    ratio = torch.tensor([10.0, 10, 5, 5]).repeat(3)
    for key, value in net.state_dict().items():
        if key in report.unfilled:
            expected = before[key]
        elif key.startswith("rpn.head.bbox_pred."):
            expected = source[key] * ratio.reshape(-1, *[1] * (source[key].ndim - 1))
        else:
            expected = source[key]
        assert torch.equal(value, expected), key
    assert {key.rsplit(".", 1)[0] for key in report.unfilled} == {
        "roi_heads.box_predictor.cls_score",
        "roi_heads.box_predictor.bbox_pred",
        "roi_heads.mask_predictor.mask_fcn_logits",
        "rpn.center_head",
        "backbone.body.layer4.attention",
        "backbone.fpn.extra_blocks.attention.0",
    }
    assert len(report.unused) == 6


def test_coco_without_rescaling(hub):
    source = make_net(classes=91, seed=1).state_dict()
    torch.save(source, hub / "coco.pth")
    net = make_net()
    load_weights(net, str(hub / "coco.pth"), "resnet50", rescale_rpn=False)
    key = "rpn.head.bbox_pred.weight"
    assert torch.equal(net.state_dict()[key], source[key])


def test_coco_with_another_number_of_anchors(hub):
    path = hub / "coco.pth"
    torch.save(make_net(classes=91, seed=1).state_dict(), path)
    net = make_net(ratios=1)
    before = snapshot(net)
    report = load_weights(net, str(path), "resnet50")
    heads = ["rpn.head.cls_logits.weight", "rpn.head.bbox_pred.weight"]
    assert set(heads) <= set(report.unfilled) and set(heads) <= set(report.unused)
    assert all(torch.equal(net.state_dict()[key], before[key]) for key in heads)


@pytest.mark.parametrize(
    ("weights", "backbone", "offered"),
    [
        ("imagenet", "compact", "resnet18, resnet34, resnet50"),
        ("coco", "compact", "only for resnet50;"),
        ("coco", "resnext101_64x4d", "only for resnet50;"),
    ],
)
def test_nothing_published(weights, backbone, offered):
    with pytest.raises(UserError) as error:
        load_weights(make_net(), weights, backbone)
    assert f"weights={weights}: torchvision publishes none for the net '{backbone}'" in str(
        error.value
    )
    assert offered in str(error.value) and "weights=<file>" in str(error.value)


def test_failed_download_says_where_to_put_the_file(hub, server, monkeypatch):
    url = f"{server.url}/resnet18-f37072fd.pth"
    server.shutdown()
    server.socket.close()  # nobody listens any more
    monkeypatch.setattr(ResNet18_Weights.DEFAULT.value, "url", url)
    with pytest.raises(UserError) as error:
        load_weights(make_net(), "imagenet", "resnet18")
    message = str(error.value)
    assert message.startswith(f"{url}: download failed (")
    assert f"put the file at {hub / 'resnet18-f37072fd.pth'} by hand" in message
    assert "weights=<file>" in message and "\n" not in message
    assert list(hub.iterdir()) == []


def test_download_is_checked_by_its_hash(hub, server, monkeypatch, imagenet_file):
    server.content = imagenet_file.read_bytes()
    monkeypatch.setattr(
        ResNet18_Weights.DEFAULT.value, "url", f"{server.url}/resnet18-f37072fd.pth"
    )
    net = make_net(resnet18(weights=None, norm_layer=FrozenBatchNorm2d))
    with pytest.raises(UserError, match="invalid hash value"):
        load_weights(net, "imagenet", "resnet18")
    assert list(hub.iterdir()) == []

    name = f"resnet18-{hashlib.sha256(server.content).hexdigest()[:8]}.pth"
    monkeypatch.setattr(ResNet18_Weights.DEFAULT.value, "url", f"{server.url}/{name}")
    assert load_weights(net, "imagenet", "resnet18").loaded == 100
    assert [path.name for path in hub.iterdir()] == [name]


def write(path, state):
    if path.suffix == ".safetensors":
        save_file({key: value.contiguous() for key, value in state.items()}, path)
    elif path.suffix == ".ckpt":  # as Lightning saves a module whose net is `self.net`
        content = {f"net.{key}": value for key, value in state.items()}
        content["metric.total"] = torch.zeros(1)
        torch.save({"epoch": 3, "state_dict": content, "hyper_parameters": {"lr": 0.1}}, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth", ".ckpt"])
def test_round_trip(tmp_path, suffix):
    source = add_partial_parts(make_net(seed=1))
    path = write(tmp_path / f"a{suffix}", source.state_dict())
    net = add_partial_parts(make_net())
    report = load_weights(net, str(path), "resnet18", complete=True)
    assert same(net.state_dict(), source.state_dict())
    assert report.unfilled == report.unused == report.notes == ()
    assert report.loaded == len(source.state_dict())
    counts = f"{report.loaded} of {report.loaded}"
    assert report.summary() == f"Weights from {path}: {counts} tensors filled."


def test_any_module_can_resume(tmp_path):
    source, net = nn.Linear(2, 3), nn.Linear(2, 3)
    load_weights(net, str(write(tmp_path / "a.ckpt", source.state_dict())), "none", complete=True)
    assert same(net.state_dict(), source.state_dict())


def test_counters_of_batch_norm_do_not_matter(tmp_path):
    trained = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    frozen = nn.Sequential(nn.Conv2d(3, 4, 1), FrozenBatchNorm2d(4))
    for source, net in ((trained, frozen), (frozen, trained)):
        path = write(tmp_path / "a.pt", source.state_dict())
        assert load_weights(net, str(path), "none", complete=True).loaded == 6


def test_baseline_and_partial_nets_start_from_each_other(tmp_path):
    plain, partial_net = make_net(seed=1), add_partial_parts(make_net(seed=2))
    added = set(partial_net.state_dict()) - set(plain.state_dict())
    path = write(tmp_path / "plain.pt", plain.state_dict())
    report = load_weights(partial_net, str(path), "resnet18")
    assert set(report.unfilled) == added
    assert "backbone.body.layer4.attention (2)" in report.summary()
    with pytest.raises(UserError, match=rf"{len(added)} keys missing \("):
        load_weights(partial_net, str(path), "resnet18", complete=True)

    path = write(tmp_path / "partial.pt", partial_net.state_dict())
    report = load_weights(make_net(), str(path), "resnet18")
    assert set(report.unused) == added and report.unfilled == ()
    with pytest.raises(UserError, match=rf"{len(added)} keys unknown \("):
        load_weights(make_net(), str(path), "resnet18", complete=True)


@pytest.mark.parametrize("damage", ["missing", "unknown", "shape"])
def test_what_does_not_fit_raises_and_leaves_the_net_alone(tmp_path, damage):
    net = make_net()
    state = snapshot(make_net(seed=1))
    if damage == "missing":
        del state["rpn.head.conv.0.0.bias"]
        message = r"1 keys missing \(rpn.head.conv.0.0.bias\)"
    elif damage == "unknown":
        state["rpn.head.tower.weight"] = torch.zeros(1)
        message = r"1 keys unknown \(rpn.head.tower.weight\)"
    else:
        state["roi_heads.box_head.fc7.bias"] = torch.zeros(9)
        message = r"1 of another shape \(roi_heads.box_head.fc7.bias \(9,\) for \(8,\)\)"
    path = write(tmp_path / "a.pt", state)
    before = snapshot(net)
    with pytest.raises(UserError, match=message) as error:
        load_weights(net, str(path), "resnet18")
    assert str(error.value).startswith(f"{path}: does not fit this net")
    assert "\n" not in str(error.value)
    assert same(net.state_dict(), before)


class Command:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt"])
def test_checkpoint_with_code_is_refused_and_not_run(tmp_path, suffix):
    witness = tmp_path / "witness"
    path = tmp_path / f"evil{suffix}"
    content = {"state_dict": make_net().state_dict(), "x": Command(f"touch {witness}")}
    torch.save(content, path)
    with pytest.raises(UserError, match="system beside tensors and so may run code") as error:
        load_weights(make_net(), str(path), "resnet18")
    assert str(error.value).startswith(f"{path}: refused")
    assert "\n" not in str(error.value)
    assert not witness.exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".ckpt"])
@pytest.mark.parametrize("content", ["empty", "junk", "half"])
def test_damaged_file(tmp_path, suffix, content):
    path = write(tmp_path / f"a{suffix}", {"weight": torch.zeros(1000)})
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "junk": b"no weights here " * 9, "half": whole[:2000]}[content])
    with pytest.raises(UserError, match="not readable as weights") as error:
        load_weights(Linear(), str(path), "none")
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {}, {"state_dict": {"a": "b"}}, {1: 2}])
def test_file_without_state_dict(tmp_path, content):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(UserError, match="no state dict in it"):
        load_weights(Linear(), str(tmp_path / "a.pt"), "none")


def test_unknown_values(tmp_path):
    with pytest.raises(
        UserError, match="weights=imagnet: no such file; use null, nuclei, imagenet"
    ):
        load_weights(Linear(), "imagnet", "resnet18")
    with pytest.raises(UserError, match="a folder; use null, nuclei, imagenet, coco or the path"):
        load_weights(Linear(), str(tmp_path), "resnet18")
    (tmp_path / "a.h5").touch()
    with pytest.raises(UserError, match=r"unknown kind of weights '\.h5'; use \.safetensors, \.pt"):
        load_weights(Linear(), str(tmp_path / "a.h5"), "resnet18")


def test_coco_weights_are_for_mask_rcnn_alone():
    with pytest.raises(UserError, match=r"^weights=coco: .* do not fit Linear; use weights="):
        load_weights(Linear(), "coco", "resnet50")
