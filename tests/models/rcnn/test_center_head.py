"""The centre head: its losses by hand, found boxes by hand, and what each option changes."""

import math

import pytest
import torch
import torch.nn.functional as F
from torchvision.models.detection._utils import BoxCoder

from nucleist.models.rcnn.center_head import CenterHead
from nucleist.ops.centers import center_target

CODER = BoxCoder((10.0, 10.0, 5.0, 5.0))
CELLS = (16, 16)
SIZE = (64, 64)


def make_head(**options):
    torch.manual_seed(0)
    return CenterHead(8, **{"anchor_size": [16, 12], "unknown_ratio": 0.0, **options})


def square_target(*squares, size=SIZE):
    """Squares `(x, y, side)`; the later on top."""
    label_map = torch.zeros(size, dtype=torch.int32)
    boxes = []
    for i, (x, y, side) in enumerate(squares):
        label_map[y : y + side, x : x + side] = i + 1
        boxes.append([x, y, x + side, y + side])
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "label_map": label_map,
    }


def random_maps(count, seed=1):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, *CELLS, generator=generator)
    return logits, torch.randn(count, 4, *CELLS, generator=generator)


def spot(*cells, value=8.0, count=1):
    """Logits of -8 with single cells `(image, row, column)` of a high score, and zero deltas."""
    logits = torch.full((count, *CELLS), -8.0)
    for image, row, col in cells:
        logits[image, row, col] = value
    return logits, torch.zeros(count, 4, *CELLS)


def losses_of(head, targets, maps=None, sizes=None):
    logits, deltas = maps or random_maps(len(targets))
    torch.manual_seed(0)
    return head.loss(logits, deltas, CODER, targets, sizes or [SIZE] * len(targets), 4.0)


def found_by(head, maps, sizes=None, training=False):
    sizes = sizes or [SIZE] * len(maps[0])
    return head.train(training).find(*maps, CODER, sizes, 4.0)


def test_maps_are_1x1_convolutions_of_the_trunk():
    head = make_head()
    trunk = torch.randn(2, 8, *CELLS)
    logits, deltas = head(trunk)
    assert logits.shape == (2, *CELLS) and deltas.shape == (2, 4, *CELLS)
    torch.testing.assert_close(
        logits, torch.einsum("c,bchw->bhw", head.logits.weight[0, :, 0, 0], trunk)
    )
    assert not head.logits.bias.any() and not head.deltas.bias.any()
    assert 0.005 < torch.cat([head.logits.weight, head.deltas.weight]).std() < 0.02


def smooth_l1(off):
    return abs(off) - 1 / 18 if abs(off) > 1 / 9 else 9 * off * off / 2


def test_losses_by_hand():
    # 128 samples suffice for all cells of these two nuclei, so nothing is left to chance.
    target = square_target((8, 8, 16), (30, 30, 28))
    logits, deltas = random_maps(1)
    labels, index = (x[0] for x in center_target([target["boxes"]], [target["label_map"]], CELLS))
    assert (labels == 1).sum() == 4 + 16 and (labels >= 0).sum() <= 128
    cross_entropy, smooth, count = 0.0, 0.0, 0
    for i, j in (labels >= 0).nonzero().tolist():
        count += 1
        p = 1 / (1 + math.exp(-logits[0, i, j]))
        if labels[i, j] == 0:
            cross_entropy -= math.log(1 - p)
            continue
        cross_entropy -= math.log(p)
        x0, y0, x1, y1 = target["boxes"][index[i, j]].tolist()
        # the anchor: 16 x 12 px around the cell's corner, inside the image
        ax0, ax1 = max(4 * j - 8, 0), min(4 * j + 8, 64)
        ay0, ay1 = max(4 * i - 6, 0), min(4 * i + 6, 64)
        wanted = [
            10 * ((x0 + x1) / 2 - (ax0 + ax1) / 2) / (ax1 - ax0),
            10 * ((y0 + y1) / 2 - (ay0 + ay1) / 2) / (ay1 - ay0),
            5 * math.log((x1 - x0) / (ax1 - ax0)),
            5 * math.log((y1 - y0) / (ay1 - ay0)),
        ]
        smooth += sum(smooth_l1(deltas[0, k, i, j].item() - wanted[k]) for k in range(4))
    got = losses_of(make_head(), [target])
    assert got["loss_centerness"].item() == pytest.approx(cross_entropy / count, rel=1e-5)
    assert got["loss_center_box"].item() == pytest.approx(smooth / count, rel=1e-5)
    by_positives = losses_of(make_head(reg_norm="pos"), [target])
    assert by_positives["loss_center_box"].item() == pytest.approx(smooth / 20, rel=1e-5)
    assert torch.equal(by_positives["loss_centerness"], got["loss_centerness"])


@pytest.mark.parametrize("squares", [[], [(60, 60, 4)], [(0, 0, 1)], [(63, 63, 1)], [(0, 20, 30)]])
def test_losses_of_empty_images_single_pixels_and_borders_are_finite(squares):
    maps = [m.requires_grad_() for m in random_maps(2)]
    losses = losses_of(make_head(), [square_target(*squares), square_target()], maps)
    sum(losses.values()).backward()
    assert all(torch.isfinite(m.grad).all() for m in maps)
    # one cell of the whole batch is a centre at least, where anything is annotated
    assert bool(maps[1].grad.any()) == bool(squares)
    assert not maps[0].grad[1].any()


def sampled_cells(head, targets):
    """Which cells the losses look at: those whose logit has a gradient."""
    logits, deltas = random_maps(len(targets))
    logits.requires_grad_()
    losses_of(head, targets, (logits, deltas))["loss_centerness"].backward()
    return logits.grad != 0


def test_unknown_cells_are_never_sampled_and_centres_fill_half_at_most():
    # 60 px are 15 x 15 cells; 7.5 -+ 0.3 * 15 / 2 are 5.25 .. 9.75, outwards 5 x 5 cells
    target = square_target((0, 0, 60))
    labels, _ = (x[0] for x in center_target([target["boxes"]], [target["label_map"]], CELLS))
    assert (labels == 1).sum() == 25 and (labels == 0).sum() == 15 * 15 - 25
    seen = sampled_cells(make_head(num_samples=20), [target])[0]
    assert (seen & (labels == 1)).sum() == 10 and (seen & (labels == 0)).sum() == 10
    seen = sampled_cells(make_head(num_samples=128), [target])[0]
    assert (seen & (labels == 1)).sum() == 25 and (seen & (labels == 0)).sum() == 103
    assert not (seen & (labels == -1)).any()


def test_sample_scope_is_an_image_or_the_batch():
    targets = [square_target((0, 0, 60)), square_target((4, 4, 60))]
    each = sampled_cells(make_head(num_samples=40), targets)
    assert each.flatten(1).sum(1).tolist() == [40, 40]
    together = sampled_cells(make_head(num_samples=40, sample_scope="batch"), targets)
    assert together.sum() == 40


@pytest.mark.parametrize("ratio, count", [(0.0, 0), (1.0, 9), (3.0, 27), (99.0, 61)])
def test_unknown_ratio_samples_unknown_cells_of_the_image_as_negatives(ratio, count):
    # 28 px are 7 x 7 cells, 3 x 3 of them the centre; 44 x 40 px are 110 cells
    target = square_target((4, 4, 28), size=(44, 40))
    labels, _ = (x[0] for x in center_target([target["boxes"]], [target["label_map"]], CELLS))
    assert (labels == 1).sum() == 9 and (labels[:11, :10] == -1).sum() == 61
    logits, deltas = random_maps(1)
    logits.requires_grad_()
    losses = losses_of(make_head(unknown_ratio=ratio), [target], (logits, deltas), [(44, 40)])
    losses["loss_centerness"].backward()
    unknown = (logits.grad[0] != 0) & (labels == -1)
    assert unknown.sum() == count
    assert (logits.grad[0][unknown] > 0).all()  # pushed down
    assert not unknown[11:].any() and not unknown[:, 10:].any()  # none in the padding
    without = losses_of(make_head(unknown_ratio=ratio), [square_target()])
    assert without["loss_centerness"] == 0  # in proportion to the centres


@pytest.mark.parametrize("share, side", [(0.1, 2), (0.3, 4), (0.5, 6)])
def test_center_share_is_the_part_of_a_box_that_counts(share, side):
    # 40 px are 10 x 10 cells around cell border 7: half a share of 10 to each side, outwards
    target = square_target((8, 8, 40))
    labels, _ = (
        x[0] for x in center_target([target["boxes"]], [target["label_map"]], CELLS, share=share)
    )
    assert (labels == 1).sum() == side**2 and (labels >= 0).sum() == 100
    loss = losses_of(make_head(num_samples=2000, center_share=share), [target])
    known = labels >= 0
    wanted = F.binary_cross_entropy_with_logits(random_maps(1)[0][0, known], labels[known].float())
    torch.testing.assert_close(loss["loss_centerness"], wanted)


def test_overlap_decides_the_box_of_a_shared_cell():
    target = square_target((0, 0, 40), (4, 0, 40))
    logits, deltas = random_maps(1)
    near = losses_of(make_head(num_samples=2000), [target], (logits, deltas))
    last = losses_of(make_head(num_samples=2000, overlap="last"), [target], (logits, deltas))
    assert torch.equal(near["loss_centerness"], last["loss_centerness"])
    assert not torch.equal(near["loss_center_box"], last["loss_center_box"])


@pytest.mark.parametrize("offset, left, top", [(0.0, 20, 32), (0.5, 22, 34)])
def test_zero_deltas_give_the_anchor(offset, left, top):
    # cell (row 10, column 7) begins at x = 28, y = 40; the anchor is 16 x 16 px
    head = make_head(anchor_size=[16, 16], anchor_offset=offset)
    (found,) = found_by(head, spot((0, 10, 7)))
    assert found[:, :4].tolist() == [[left, top, left + 16, top + 16]]
    assert found[0, 4].item() == pytest.approx(1 / (1 + math.exp(-8)))


def test_clip_anchor_moves_the_middle_of_anchors_at_the_border():
    # Cell (0, 0): 16 px around the corner of the image are [-8, 8], inside it [0, 8].
    logits, deltas = spot((0, 0, 0))
    deltas[0, :2] = 10.0  # one anchor width to the right, one height down
    clipped = found_by(make_head(anchor_size=[16, 16]), (logits, deltas))[0]
    assert clipped[0, :4].tolist() == [8, 8, 16, 16]
    whole = found_by(make_head(anchor_size=[16, 16], clip_anchor=False), (logits, deltas))[0]
    assert whole[0, :4].tolist() == [8, 8, 24, 24]


def test_deltas_are_decoded_at_the_peak_with_the_rpns_coder():
    logits, deltas = spot((0, 8, 8), (0, 8, 9), value=3.0)
    logits[0, 8, 9] = 5.0  # the peak of the two
    deltas[0, :, 8, 8] = torch.tensor([9.0, 9.0, 9.0, 9.0])
    # anchor 16 x 12 px around (36, 32): right by 0.5 * 16, down by 0.25 * 12, twice as wide
    deltas[0, :, 8, 9] = torch.tensor([5.0, 2.5, 5 * math.log(2), 0.0])
    (found,) = found_by(make_head(), (logits, deltas))
    wanted = [44 - 16, 35 - 6, 44 + 16, 35 + 6]
    assert found[0, :4].tolist() == pytest.approx(wanted, abs=1e-4)
    assert found[0, 4].item() == pytest.approx(1 / (1 + math.exp(-5)))


def test_the_test_threshold_acts_at_inference_only():
    maps = spot((0, 4, 4), value=1.0)  # a score of 0.73
    strict = make_head(threshold=0.9, test_threshold=0.5)
    assert len(found_by(strict, maps, training=True)[0]) == 0
    assert len(found_by(strict, maps, training=False)[0]) == 1
    same = make_head(threshold=0.9)
    assert len(found_by(same, maps, training=False)[0]) == 0


def test_connectivity_of_diagonal_cells():
    maps = spot((0, 4, 4), (0, 5, 5))
    assert len(found_by(make_head(), maps)[0]) == 2
    assert len(found_by(make_head(connectivity=8), maps)[0]) == 1


def test_nms_among_found_boxes():
    # Anchors 16 x 12 px, 8 px apart: IoU 8 / 24 = 1/3. The better one stays.
    logits, deltas = spot((0, 8, 6), (0, 8, 8))
    logits[0, 8, 8] = 9.0
    assert len(found_by(make_head(), (logits, deltas))[0]) == 2
    assert len(found_by(make_head(nms_iou=0.34), (logits, deltas))[0]) == 2
    (one,) = found_by(make_head(nms_iou=0.3), (logits, deltas))
    assert one[:, 0].tolist() == [24]  # cell 8: x = 32, less 8


def test_boxes_thinner_than_a_pixel_are_dropped():
    logits, deltas = spot((0, 8, 8), (1, 8, 8), (1, 2, 2), count=2)
    deltas[0, 2] = -50.0  # a width of 16 * exp(-10) px
    deltas[1, :2, 8, 8] = 100.0  # ten anchors to the right: clipped to nothing
    first, second = found_by(make_head(), (logits, deltas))
    assert first.shape == (0, 5) and second.shape == (1, 5)
    assert second[0, :4].tolist() == [0, 2, 16, 14]


def test_found_boxes_belong_to_their_image_and_stay_inside_it():
    sizes = [(64, 40), (32, 64)]
    logits = torch.full((2, *CELLS), 4.0)
    logits[0, 3, 9], logits[1, 7, 2] = 6.0, 6.0  # inside
    logits[0, 3, 10], logits[1, 8, 2] = 9.0, 9.0  # in the padding, and higher
    first, second = found_by(make_head(), (logits, torch.zeros(2, 4, *CELLS)), sizes)
    # cell (3, 9): x 36 -+ 8 and y 12 -+ 6, cut at x = 40; clipped anchors, so nothing else moves
    assert first[:, :4].tolist() == [[28, 6, 40, 18]]
    assert second[:, :4].tolist() == [[0, 22, 16, 32]]


def test_padding_is_silent():
    logits = torch.full((1, *CELLS), 5.0)
    score = make_head().probability(logits, [(30, 33)], 4.0)
    # rows 0..7 begin above 30 px (28), columns 0..8 left of 33 px (32)
    assert (score[0, :8, :9] > 0.99).all() and score.count_nonzero() == 8 * 9
    assert (logits == 5).all()


def test_found_boxes_are_constants():
    maps = [m.requires_grad_() for m in random_maps(1)]
    assert not found_by(make_head(threshold=0.6), maps)[0].requires_grad


def test_sampling_uses_up_no_random_numbers():
    head, maps, target = make_head(num_samples=20), random_maps(1), square_target((0, 0, 60))
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    head.loss(*maps, CODER, [target], [SIZE], 4.0)
    assert torch.equal(torch.rand(3), wanted)
