"""Make untrained nets do the work of trained ones, the same in all nets.

A trained net proposes most nuclei several times and detects each once. An untrained net has few
positive samples in training, so that its steps look cheap, and hundreds of false detections. Hooks
on parts that torchvision and nucleist share replace

- the proposals by jittered true boxes, and random boxes for the background;
- the output of the classifier, in evaluation only, by nucleus for the former and background for
  the latter and for further boxes of a centre head;
- the mask logits, in evaluation only, by a disc plus a small part of the net's own logits;
- the logits of the centre head, if there is one, by high values at the true centres.

All layers run as usual, and the losses have their gradients.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

SEED = 7
COPIES = 200
"""Minimum number of jittered true boxes of an image in training; no sampler takes as many."""
BACKGROUND = 300
TEST_PROPOSALS = 1000
JITTER = 0.04
"""Standard deviation of a coordinate's error, in sides of the box."""
SURE = 6.0
"""Logit of a certain prediction."""


def seed_sampling(net: Any) -> None:
    """Draw the same samples in every net, however many random numbers its transform uses."""

    def seed(module: nn.Module, inputs: Any) -> None:
        torch.manual_seed(SEED)

    net.backbone.register_forward_pre_hook(seed)


def plant(net: Any, boxes: Sequence[Tensor], size: int) -> None:
    """Put hooks on a net.

    Args:
        net: Any of the nets, on its device; it must keep the scale of the images.
        boxes: True boxes `(N, 4)` of each image, xyxy in pixels.
        size: Side of the images in pixels.
    """
    train, test, scores = [], [], []
    for b in boxes:
        generator = torch.Generator().manual_seed(SEED)
        copies = max(2, -(-COPIES // max(len(b), 1)))
        near = jittered(b.cpu(), copies, size, generator)
        train.append(torch.cat([near, anywhere(BACKGROUND, size, generator)]).to(b.device))
        near = jittered(b.cpu(), 2, size, generator)
        far = anywhere(max(TEST_PROPOSALS - len(near), 100), size, generator)
        test.append(torch.cat([near, far]).to(b.device))
        sure = torch.linspace(SURE, SURE / 3, len(near))
        scores.append(torch.cat([sure, torch.full((len(far),), -SURE)]).to(b.device))
    net.rpn.register_forward_hook(_Proposals(train, test))
    net.roi_heads.box_predictor.register_forward_hook(_Scores(torch.cat(scores)))
    net.roi_heads.mask_predictor.register_forward_hook(_disc)
    center = getattr(net.rpn, "center_head", None)
    if center is not None:
        center.logits.register_forward_hook(_Centers(boxes, size))


def jittered(boxes: Tensor, copies: int, size: int, generator: torch.Generator) -> Tensor:
    """Each box several times with small errors, inside the image: `(copies * N, 4)`."""
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(copies, 2)
    error = JITTER * torch.randn(sides.shape, generator=generator).clamp(-2, 2)
    moved = (boxes.repeat(copies, 1) + error * sides).clamp(0, size)
    return torch.cat([moved[:, :2], torch.maximum(moved[:, 2:], moved[:, :2] + 1)], 1)


def anywhere(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Boxes `(count, 4)` of 10 to 30 px at random places inside the image."""
    side = 10 + 20 * torch.rand(count, 2, generator=generator)
    corner = torch.rand(count, 2, generator=generator) * (size - side)
    return torch.cat([corner, corner + side], 1)


class _Proposals:
    """Replaces the proposals; those that a centre head added stay, with their further columns."""

    def __init__(self, train: list[Tensor], test: list[Tensor]):
        self.train, self.test = train, test

    def __call__(self, module: nn.Module, _: Any, output: Any) -> Any:
        proposals, losses = output
        if module.training:
            return [p.clone() for p in self.train], losses
        mixed = []
        for old, new in zip(proposals, self.test, strict=True):
            columns = old.shape[1] - 4
            found = old[old[:, 4] > 0] if columns else old[:0]
            mixed.append(torch.cat([nn.functional.pad(new, (0, columns)), found]))
        return mixed, losses


class _Scores:
    """Replaces the class logits, in the order of the proposals, and the deltas by zeros."""

    def __init__(self, scores: Tensor):
        self.scores = scores

    def __call__(self, module: nn.Module, _: Any, output: tuple[Tensor, Tensor]) -> Any:
        logits, deltas = output
        if module.training:
            return output
        if len(logits) < len(self.scores):
            raise RuntimeError(f"{len(self.scores)} proposals, of which {len(logits)} are scored")
        planted = torch.zeros_like(logits)
        planted[:, 1] = -SURE
        planted[: len(self.scores), 1] = self.scores.to(logits)
        return planted, torch.zeros_like(deltas)


def _disc(module: nn.Module, _: Any, output: Tensor) -> Tensor | None:
    if module.training:
        return None
    place = torch.linspace(-1.1, 1.1, output.shape[-1], device=output.device)
    disc = SURE * (1 - place[:, None] ** 2 - place**2)
    return disc.to(output) + 0.01 * output


class _Centers:
    """Replaces the centre logits: high in the cells of the true centres."""

    def __init__(self, boxes: Sequence[Tensor], size: int):
        self.boxes, self.size = boxes, -(-size // 32) * 32  # as the transform pads a batch

    def __call__(self, _: nn.Module, __: Any, output: Tensor) -> Tensor:
        planted = torch.full_like(output, -SURE)
        for one, boxes in zip(planted, self.boxes, strict=True):
            middle = (boxes[:, :2] + boxes[:, 2:]) / 2 / self.size
            column, row = (middle * one.shape[-1]).long().clamp(max=one.shape[-1] - 1).unbind(1)
            one[..., row, column] = SURE
        return output + planted
