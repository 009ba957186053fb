"""Configurations from before an option: they are built as they were meant then."""

import pytest
from omegaconf import OmegaConf

from nucleist.config.build import build
from nucleist.config.compose import compose
from nucleist.config.earlier import BEFORE, NOW, lacking

THIN = "{_target_: nucleist.models.compact_fpn, channels: 8, stem: 4, widths: [4, 4, 4]}"
ANCHORS = "anchor_sizes: [[8], [16], [32]], roi_levels: ['0', '1', '2'], mask_head: [4]"


def net_of(name: str, **options: object) -> dict[str, object]:
    """A stored configuration of a thin net."""
    model = OmegaConf.create(f"{{_target_: nucleist.models.{name}, backbone: {THIN}, {ANCHORS}}}")
    content = OmegaConf.to_container(model)
    assert isinstance(content, dict)
    if name == "mask_rcnn_pa":
        content["center"] = {"anchor_size": [8, 8]}
    return {**content, **options}  # type: ignore[dict-item]


def alignments(net) -> set[str]:
    """What all parts of a net do."""
    found = {net.roi_heads.mask_alignment, net.transform.paste["alignment"]}
    center = getattr(net.rpn, "center_head", None)
    return found if center is None else found | {center.mask_alignment}


@pytest.mark.parametrize("name", ["mask_rcnn", "mask_rcnn_pa"])
def test_a_stored_net_without_the_option_has_torchvisions_masks(name: str) -> None:
    stored = net_of(name)
    assert alignments(build(stored)) == {"torchvision"}
    assert alignments(build(OmegaConf.create({"model": stored}).model)) == {"torchvision"}
    for alignment in ("exact", "torchvision"):
        assert alignments(build(net_of(name, mask_alignment=alignment))) == {alignment}
    assert "mask_alignment" not in stored


def test_what_is_written_today_has_the_option() -> None:
    for name in ("mask_rcnn", "mask_rcnn_pa"):
        config = compose("train", [f"model={name}", "median_box=[8,8]"])
        assert config.model.mask_alignment == "exact"
    own = f"model={{_target_: nucleist.models.mask_rcnn, backbone: {THIN}}}"
    assert compose("train", [own]).model.mask_alignment == "exact"
    own = f"model={{_target_: nucleist.models.mask_rcnn, mask_alignment: torchvision, {ANCHORS}}}"
    assert compose("train", [own]).model.mask_alignment == "torchvision"


@pytest.mark.parametrize("name", ["dist", "deeplabv3"])
def test_what_is_not_labelled_was_background(name: str) -> None:
    stored = {"_target_": f"nucleist.models.{name}"}
    if name == "deeplabv3":
        stored["backbone"] = {"_target_": "nucleist.models.resnet_body", "name": "resnet18"}
    assert build(OmegaConf.create(stored)).background == ("all", 4)
    assert compose("train", [f"model={name}"]).model.background == "similar"


def test_other_nodes_lack_nothing() -> None:
    for node in ({}, {"_target_": "nucleist.models.unet"}, None, 3, ["_target_"]):
        assert lacking(node, BEFORE) == lacking(node, NOW) == {}
