"""What the attention of a Mask R-CNN takes from an image as a whole, measured window by window."""

import math
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from torch import Tensor

from nucleist.models.attention import Context, DecomposedAttention, attention_blocks
from nucleist.models.backbones import Pyramid
from nucleist.models.net import Part, Surveyed, knowing

IN_BODY = "body."
"""Begin of the names of blocks that later blocks depend on."""


def contexts_of(net: Any, parts: Sequence[Part]) -> Surveyed:
    """The contexts of all attention blocks of an image.

    A block inside the body changes what later ones see, so that each of them is measured in a pass
    of its own; those on the pyramid's levels are measured in one.

    Args:
        net: A `nucleist.models.rcnn.net.MaskRCNN` in eval mode.
        parts: See `nucleist.models.net.Net.survey`.

    Returns:
        `(C_b, channels)` numbers by the name of the block in the backbone.
    """
    blocks = dict(attention_blocks(net.backbone))
    passes = [[name] for name in blocks if name.startswith(IN_BODY)]
    passes.append([name for name in blocks if not name.startswith(IN_BODY)])
    known: dict[str, Any] = {}
    for names in filter(None, passes):
        contexts = {name: Context() for name in names}
        with knowing(net, known):
            for part in parts:
                batch, _ = net.transform([part.image])
                watched = [(blocks[name], context) for name, context in contexts.items()]
                _watch(net.backbone, batch.tensors, _core(part, batch.image_sizes[0]), watched)
        known |= {name: context.values() for name, context in contexts.items()}
    return known


def _watch(
    backbone: Pyramid,
    images: Tensor,
    core: Sequence[tuple[float, float]],
    watched: Iterable[tuple[DecomposedAttention, Context]],
) -> None:
    """Run the backbone on one image, and add the cells in its core to the contexts."""

    def add(block: DecomposedAttention, inputs: tuple[Tensor], context: Context) -> None:
        (x,) = inputs
        ends = zip(core, images.shape[2:], x.shape[2:], strict=True)
        rows, cols = (_cells(*side, padded / count) for side, padded, count in ends)
        context.add(block, x[0, :, rows, cols].flatten(1).T)

    with ExitStack() as hooks:
        for block, context in watched:
            handle = block.register_forward_pre_hook(partial(add, context=context))
            hooks.callback(handle.remove)
        backbone(images)


def _core(part: Part, size: tuple[int, int]) -> list[tuple[float, float]]:
    """Ends of the core along both sides, in pixels of the image as the net resizes it.

    Where the core ends with the image, the padding beyond it counts too, as in a whole image.
    """
    top, left, low, right = part.core
    ends = ((top, low), (left, right))
    return [
        (begin * net / side, end * net / side if end < side else math.inf)
        for (begin, end), side, net in zip(ends, part.image.shape[1:], size, strict=True)
    ]


def _cells(begin: float, end: float, stride: float) -> slice:
    """The cells that begin in a piece of a side; each cell of an image is in one core."""
    first = math.ceil(begin / stride - 1e-6)
    return slice(first, None if end == math.inf else math.ceil(end / stride - 1e-6))
