"""The options of nets in `conf/model` and `conf/preset` against those of their constructors.

An option has one default: what a file of `conf/model` says is what the constructor takes without
it. Presets differ from each other, so only one of them, `resnet50`, is what Python takes.
"""

import inspect
from pathlib import Path

import pytest
import torch
from hydra.utils import get_object
from omegaconf import OmegaConf

from nucleist.config.build import build
from nucleist.config.compose import compose
from nucleist.models import (
    canonical_shape,
    mask_rcnn,
    mask_rcnn_ablation,
    mask_rcnn_pa,
    nuset,
    resnet_fpn,
)
from nucleist.models.canonical.net import CanonicalShapeNet
from nucleist.models.nuset.rpn import NucleusRPN
from nucleist.models.rcnn.center_head import CenterHead
from nucleist.models.rcnn.net import ROI, RPN
from nucleist.models.rcnn.transform import LabelMapTransform

CONF = Path(__file__).parents[2] / "src" / "nucleist" / "conf"
MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
PRESETS = sorted(path.stem for path in (CONF / "preset").glob("*.yaml") if path.stem != "none")

PASSED_ON = {
    canonical_shape: [CanonicalShapeNet],
    mask_rcnn_pa: [mask_rcnn],
    mask_rcnn_ablation: [mask_rcnn],
}
"""Where a constructor passes the options on that it does not name itself."""

NESTED = {"center": CenterHead, "transform": LabelMapTransform, "rpn": RPN, "roi": ROI}
"""Whose the options are that are given to `mask_rcnn` and `mask_rcnn_pa` as a dict."""

NUSET = {"rpn": NucleusRPN}
"""As `NESTED`, of `nuset`."""

PARTS = ("model.coarse.instances", "model.fine.standardize")
"""What a net in `model=nuset_foreground` needs otherwise than alone."""

REQUIRED = inspect.Parameter.empty


def defaults_of(constructor):
    """Default of each option, `REQUIRED` where there is none."""
    if isinstance(constructor, dict):
        return constructor
    known = {}
    for each in (constructor, *PASSED_ON.get(constructor, ())):
        for name, parameter in inspect.signature(each).parameters.items():
            if parameter.kind is not parameter.VAR_KEYWORD:
                known.setdefault(name, parameter.default)
    return known


def leaves(node, constructor, path="model"):
    """Each option in a file as `(path, value, default)`; references are left out."""
    known = defaults_of(constructor)
    nested = NUSET if constructor is nuset else NESTED
    for name, value in node.items():
        where = f"{path}.{name}"
        if name.startswith("_"):
            continue
        assert name in known, f"{where}: there is no such option"
        if isinstance(value, dict) and "_target_" in value:
            yield from leaves(value, get_object(value["_target_"]), where)
        elif isinstance(value, dict) and name in nested:
            yield from leaves(value, nested[name], where)
        elif not (isinstance(value, str) and value.startswith("$")):
            yield where, value, known[name]


def options(path, model=None):
    """The `model` node of a file, by its constructor."""
    node = OmegaConf.to_container(OmegaConf.load(CONF / path), resolve=False)
    node = node.get("model", node)
    if "backbone" in node:
        node["backbone"].setdefault("_target_", "nucleist.models.resnet_fpn")
    return node, model or get_object(node["_target_"])


def plain(value):
    """Tuples as the lists that YAML has."""
    return [plain(v) for v in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("name", MODELS)
def test_models_state_the_defaults_of_their_constructors(name):
    for where, value, default in leaves(*options(f"model/{name}.yaml")):
        assert default is REQUIRED or plain(default) == value or where in PARTS, where


@pytest.mark.parametrize("name", PRESETS)
def test_presets_state_options_that_exist(name):
    found = list(leaves(*options(f"preset/{name}.yaml", mask_rcnn)))
    assert found
    if name == "resnet50":
        for where, value, default in found:
            assert plain(default) == value, where


def test_the_resnet50_preset_is_what_python_makes_without_options():
    chosen = ["preset=resnet50", "attention=[]"]
    config = compose("train", ["model=mask_rcnn", *chosen]).model
    with torch.device("meta"):
        ours, bare = build(config), mask_rcnn(resnet_fpn())
    for net in (ours, bare):
        assert net.rpn.caps_area == net.roi_heads.caps_area == 360_000
    shapes = ({key: value.shape for key, value in net.state_dict().items()} for net in (ours, bare))
    assert next(shapes) == next(shapes)
    assert str(ours.transform) == str(bare.transform)
    assert ours.transform.paste == bare.transform.paste
    assert ours.box_weights() == bare.box_weights()
