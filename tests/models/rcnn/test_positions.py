"""Where drawn discs of known position are after each change of coordinates in a Mask R-CNN."""

import numpy as np
import pytest
import torch
from support.drawn import areas, disc, many_discs, middle, middles, picture_of
from torch import nn
from torchvision.ops import MultiScaleRoIAlign

from nucleist.data.targets import to_target
from nucleist.models.backbones import CompactBody
from nucleist.models.rcnn.transform import LabelMapTransform
from nucleist.ops.masks import mask_targets
from nucleist.types import UserError

SCALES = [None, 100, 52]
"""Short sides that images of 64 x 80 px are resized to."""


def discs(seed=0):
    """Discs, their target, and an image as bright as they are."""
    labels, centers, sizes = many_discs((64, 80), 32, (5, 13), seed)
    image = torch.from_numpy((labels > 0).astype(np.float32)).repeat(3, 1, 1)
    return image, to_target(labels), centers, sizes


@pytest.mark.parametrize("min_size", SCALES[1:])
@pytest.mark.parametrize("seed", range(3))
def test_image_labels_and_boxes_are_resized_alike(min_size, seed):
    *center, radius = np.random.default_rng(seed).uniform((20, 30, 8), (40, 50, 16)).tolist()
    image = torch.from_numpy(picture_of((64, 80), center, radius))[None].repeat(3, 1, 1)
    target = to_target(disc((64, 80), center, radius))
    resizer = LabelMapTransform(min_size, image_mean=[0.0] * 3, image_std=[1.0] * 3)
    resized, new = resizer.resize(image, dict(target))
    scale = min_size / 64
    labels, (x0, y0, x1, y1) = new["label_map"], new["boxes"][0].tolist()
    assert np.abs(middle(resized[0]) - scale * np.array(center)).max() < 0.1
    assert np.abs(middle(labels) - middle(resized[0])).max() < 0.3
    assert np.abs(np.array([y0 + y1, x0 + x1]) / 2 - middle(labels)).max() < 1.0
    assert labels.dtype == torch.int32 and labels.shape == resized.shape[1:]


@pytest.mark.parametrize("scale", [2, 1.5, 0.75])
def test_images_of_any_size_are_enlarged_alike_and_masks_return(scale):
    image, target, _, sizes = discs()
    resizer = LabelMapTransform(scale=scale, image_mean=[0.0] * 3, image_std=[1.0] * 3)
    inner_image, inner = resizer.resize(image, dict(target))
    assert inner_image.shape[1:] == inner["label_map"].shape == (64 * scale, 80 * scale)
    assert torch.allclose(inner["boxes"], target["boxes"] * scale)
    count = len(sizes)
    masks = mask_targets(inner["label_map"], inner["boxes"], torch.arange(count), 28)
    given = {"boxes": inner["boxes"], "masks": masks[:, None], "scores": torch.ones(count)}
    (found,) = resizer.eval().postprocess([given], [inner_image.shape[1:]], [image.shape[1:]])
    apart = middles(found["label_map"], count) - middles(target["label_map"], count)
    assert np.abs(apart).max() < 0.4
    off = areas(found["label_map"], count) / areas(target["label_map"], count) - 1
    assert np.abs(off.mean()) < (0.01 if scale > 1 else 0.05)


@pytest.mark.parametrize("options", [{"scale": 0}, {"scale": 2, "min_size": 64}])
def test_a_scale_that_cannot_be_is_refused(options):
    with pytest.raises(UserError, match=r"model\.transform\.scale"):
        LabelMapTransform(**options)


@pytest.mark.parametrize("side", SCALES[1:])
def test_resized_labels_have_no_shift_on_average(side):
    shifts = {"exact": [], "torchvision": []}
    for seed in range(60):
        center = np.random.default_rng(seed).uniform(24, 40, 2)
        labels = torch.from_numpy(disc((64, 64), center, 14))
        for alignment, found in shifts.items():
            resizer = LabelMapTransform(side, mask_alignment=alignment)
            found.append(middle(resizer.resized_labels(labels, (side, side))) - side / 64 * center)
    assert np.abs(np.mean(shifts["exact"], 0)).max() < 0.06
    # Half a pixel of the larger image: the label of the pixel under the upper left corner
    assert np.abs(np.mean(shifts["torchvision"], 0)).min() > 0.08


@pytest.mark.parametrize("min_size", SCALES)
@pytest.mark.parametrize("seed", range(2))
def test_perfect_masks_at_the_nets_scale_are_pasted_where_the_discs_are(min_size, seed):
    image, target, _, sizes = discs(seed)
    resizer = LabelMapTransform(min_size, max_size=200)
    inner_image, inner = resizer.resize(image, dict(target))
    count = len(sizes)
    masks = mask_targets(inner["label_map"], inner["boxes"], torch.arange(count), 28)
    given = {"boxes": inner["boxes"], "masks": masks[:, None], "scores": torch.ones(count)}
    inner_size, size = tuple(inner_image.shape[1:]), tuple(image.shape[1:])
    (found,) = resizer.eval().postprocess([given], [inner_size], [size])
    assert torch.allclose(found["boxes"], target["boxes"], atol=1e-4)
    apart = middles(found["label_map"], count) - middles(target["label_map"], count)
    off = areas(found["label_map"], count) / areas(target["label_map"], count) - 1
    limit = 0.05 if min_size is None else 0.4  # a resized label map is another raster
    assert np.linalg.norm(apart, axis=1).mean() < limit and np.abs(off).mean() < 0.04


def perfect_deltas(coder, boxes, anchors):
    """The deltas that make of each anchor the box that is nearest to its middle."""
    apart = torch.cdist((anchors[:, :2] + anchors[:, 2:]) / 2, (boxes[:, :2] + boxes[:, 2:]) / 2)
    nearest, own = apart.min(1)
    return coder.encode_single(boxes[own], anchors), nearest


class Planted(nn.Module):
    """An RPN head or centre head's outputs that are what they should be."""

    def __init__(self, outputs):
        super().__init__()
        self.outputs = outputs

    def forward(self, *inputs):
        return self.outputs


@pytest.mark.parametrize("min_size", SCALES)
def test_anchors_with_perfect_deltas_are_the_drawn_boxes(min_size, make_net):
    net = make_net(transform={"min_size": min_size}).eval()
    image, target, _, _ = discs()
    batch, (inner,) = net.transform([image], [dict(target)])
    features = list(net.backbone(batch.tensors).values())
    (anchors,) = net.rpn.anchor_generator(batch, features)
    deltas, nearest = perfect_deltas(net.rpn.box_coder, inner["boxes"], anchors)
    logits, levels, start = [], [], 0
    for level in features:
        cells, kinds = level.shape[-2:], net.rpn.anchor_generator.num_anchors_per_location()[0]
        stop = start + cells[0] * cells[1] * kinds
        near, own = 6 - nearest[start:stop], deltas[start:stop]
        logits.append(near.view(1, *cells, kinds).permute(0, 3, 1, 2))
        own = own.view(1, *cells, kinds, 4).permute(0, 3, 4, 1, 2)
        levels.append(own.reshape(1, -1, *cells))
        start = stop
    net.rpn.head = Planted((logits, levels))
    (proposals,), _ = net.rpn(batch, {str(i): level for i, level in enumerate(features)})
    apart = torch.cdist(inner["boxes"], proposals, p=float("inf")).amin(1)
    assert apart.max() < 1e-3


@pytest.mark.parametrize("min_size", SCALES)
@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_found_boxes_with_perfect_maps_are_the_drawn_boxes(offset, min_size, make_net):
    center = {"anchor_offset": offset, "clip_anchor": False}
    net = make_net(pa=True, transform={"min_size": min_size}, center=center).eval()
    image, target, _, sizes = discs()
    batch, (inner,) = net.transform([image], [dict(target)])
    cells = (batch.tensors.shape[-2] // 4, batch.tensors.shape[-1] // 4)
    head, own = net.rpn.center_head, torch.tensor(batch.image_sizes)
    wanted = head.target([inner], cells, batch.image_sizes, 4.0)
    row, col = (
        index.flatten() for index in torch.meshgrid(*map(torch.arange, cells), indexing="ij")
    )
    anchors = head.anchors(row, col, 4.0, own.expand(len(row), 2))
    boxes = inner["boxes"][wanted.nucleus[0].flatten()]
    deltas = net.rpn.box_coder.encode_single(boxes, anchors).T.view(1, 4, *cells)
    head.forward = lambda trunk: (12.0 * (wanted.labels == 1) - 6, deltas)
    found = net.found_boxes(image)
    assert len(found) == len(sizes)
    apart = torch.cdist(target["boxes"], found, p=float("inf")).amin(1)
    assert apart.max() < 1e-3


@pytest.mark.parametrize("min_size", SCALES)
def test_center_targets_lie_on_the_discs(min_size, make_net):
    net = make_net(pa=True, transform={"min_size": min_size}).eval()
    shifts = []
    for seed in range(12):
        center = np.random.default_rng(seed).uniform((26, 34), (38, 46))
        labels = torch.from_numpy(disc((64, 80), center, 14))
        image = (labels > 0).float().repeat(3, 1, 1)
        cells = net.center_target(image, labels)  # at the pixels of the image
        for kind in (cells == 1, cells >= 0):
            shifts.append(middle(kind) - center)
    assert np.abs(np.mean(shifts, 0)).max() < 0.35 and np.abs(shifts).max() < 2


def test_decoded_detections_are_the_drawn_boxes(make_net):
    heads = make_net(roi={"nms_thresh": 0.9}).eval().roi_heads
    boxes = discs()[1]["boxes"]
    proposals = boxes + torch.tensor([-2.3, 1.1, 3.7, -0.4])
    deltas = heads.box_coder.encode_single(boxes, proposals).repeat(1, 2)
    logits = torch.tensor([-3.0, 3.0]).expand(len(boxes), 2)
    (found,), _, _ = heads.detect(logits, deltas, [proposals], [(64, 80)])
    assert torch.cdist(boxes, found, p=float("inf")).amin(1).max() < 1e-3


def test_pooled_cells_lie_where_the_convolutions_look():
    """RoIAlign and anchors take cell i of a level for pixel `stride * i`.

    The middle of what a convolution of the body sees there is half a pixel further.
    """
    body = CompactBody(4, (4, 4, 4)).eval()
    for parameter in body.parameters():
        nn.init.constant_(parameter, 1.0)  # positive weights: a cell is a mean around its middle
    image = torch.ones(1, 3, 192, 192, requires_grad=True)
    features, level = body.stem(image), []
    for stage in (body.layer1, body.layer2):
        features = stage(features)
        level.append(features)
    for stride, cells in zip((4, 8), level, strict=True):
        (gradient,) = torch.autograd.grad(cells[0, :, 12, 11].sum(), image, retain_graph=True)
        seen = middle(gradient[0].sum(0)) - stride * np.array([12, 11])
        np.testing.assert_allclose(seen, 0.5, atol=1e-3)
    ramp = 4.0 * torch.arange(24).expand(1, 1, 24, 24)  # each cell has its pixel column
    pooled = MultiScaleRoIAlign(["0"], 14, 2)(
        {"0": ramp}, [torch.tensor([[20.0, 8, 48, 36]])], [(96, 96)]
    )
    assert pooled[0, 0].mean(0)[:2].tolist() == [21, 23]  # middles of cells of 2 px
