"""Exported graphs give what the net gives, in their own runtimes and at other sizes of image."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import nucleist
from nucleist.cli.main import main
from nucleist.inference.exchange import quiet
from nucleist.inference.load import Model
from nucleist.models.rcnn.graph import DetectionGraph, painted
from nucleist.ops.masks import paste_label_map

pytestmark = pytest.mark.slow

IMAGES = [torch.rand(3, *size, generator=torch.Generator().manual_seed(1))
          for size in ((64, 96), (50, 130))]  # fmt: skip


@pytest.fixture(scope="module", params=["pa", "plain"])
def model(request: pytest.FixtureRequest) -> Model:
    found = nucleist.load(request.getfixturevalue(request.param), device="cpu")
    return nucleist.load(found)


@pytest.fixture(scope="module")
def low(model: Model) -> Model:
    """With a threshold that an untrained net passes."""
    with torch.no_grad():
        scores = [DetectionGraph(model.net, 0.0).eval()(image)[1] for image in IMAGES]
    middle = min(float(one[len(one) // 2]) for one in scores)
    return Model(model.net, model.normalize, middle, model.config, model.path)


@torch.no_grad()
def test_the_graph_finds_what_the_net_finds(low: Model) -> None:
    boxes, scores, masks = DetectionGraph(low.net, low.threshold).eval()(IMAGES[0])
    found = low.net([IMAGES[0]])[0]
    # The net drops nuclei that others cover, and adds those that a centre head found.
    for box, score in zip(found["boxes"], found["scores"], strict=True):
        near = (boxes - box).abs().amax(1) < 0.01
        if score > low.threshold and not low.net.can.centers:
            assert scores[near] == pytest.approx(float(score), abs=1e-4)
    assert len(masks) == len(scores) and (scores.diff() <= 0).all()


@torch.no_grad()
def test_masks_are_painted_as_the_net_paints_them() -> None:
    rng = torch.Generator().manual_seed(0)
    corner = torch.rand(12, 2, generator=rng) * 70 - 5
    boxes = torch.cat([corner, corner + torch.rand(12, 2, generator=rng) * 30 + 2], 1)
    masks = torch.rand(12, 7, 7, generator=rng) * 0.6 + 0.3
    for lost in (1.0, 0.5):
        labels = painted(boxes, masks, torch.zeros(1, 3, 64, 80), lost)[0, 0]
        wanted, kept = paste_label_map(masks[:, None], boxes, (64, 80), max_lost=lost)
        numbers = torch.nn.functional.pad(kept.cumsum(0), (1, 0)).to(torch.int32)
        if lost == 1:
            assert torch.equal(labels, numbers[wanted.long()])
        assert ((labels > 0) != (wanted > 0)).float().mean() < 0.05


def test_torchscript(low: Model, tmp_path: Path) -> None:
    path = nucleist.export_model(low, tmp_path / "a.pt", format="torchscript")
    extra = {"nucleist.json": ""}
    with quiet():
        module = torch.jit.load(path, _extra_files=extra)
        graph = DetectionGraph(low.net, low.threshold).eval()
        for image in IMAGES:
            boxes, _, masks = graph(image)
            lost = low.net.transform.paste["max_lost"]
            assert torch.equal(module(image[None]), painted(boxes, masks, image[None], lost))
    assert json.loads(extra["nucleist.json"])["score_threshold"] == low.threshold


def test_onnx(low: Model, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    path = nucleist.export_model(low, tmp_path / "a.onnx", format="onnx")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    known = session.get_modelmeta().custom_metadata_map["nucleist"]
    assert json.loads(known)["normalize"]["high"] == 99.8
    graph = DetectionGraph(low.net, low.threshold).eval()
    for image in IMAGES:
        with torch.no_grad():
            wanted = graph(image)
        found = session.run(None, {"image": image.numpy()})
        assert len(found[1]) > 0
        for one, other in zip(wanted, found, strict=True):
            assert np.allclose(one.numpy(), other, atol=1e-3)


def test_other_nets_are_refused(canonical: Path, tmp_path: Path, capsys) -> None:
    words = ["export", str(canonical), "-o", str(tmp_path / "a.onnx"), "format=onnx"]
    assert main(words) == 2
    assert "only Mask R-CNN has this format" in capsys.readouterr().err
