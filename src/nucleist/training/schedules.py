"""Learning rate schedules as factors on the largest rate, functions of step and total steps."""

import math


def ramp(step: int, total: int, warmup: int = 500, start: float = 1 / 3) -> float:
    """Factor on the learning rate: linear from `start` to 1 over `warmup` steps, then 1.

    Source: the warm-up of Detectron, which Feng et al. (IEEE Access 2019) train with.

    Args:
        step: Optimiser steps done.
        total: Steps of the whole training, without influence.
        warmup: Steps in which the rate rises, at least 1.
        start: The first factor.

    Returns:
        A factor in [start, 1].
    """
    return start + (1 - start) * min(step / warmup, 1.0)


def cosine(step: int, total: int, warmup: int = 30) -> float:
    """Factor on the learning rate: linear over `warmup` steps, then half a cosine to 0.

    Source: Loshchilov and Hutter, *SGDR*, ICLR 2017, without restarts.

    Args:
        step: Optimiser steps done.
        total: Steps of the whole training.
        warmup: Steps in which the rate rises.

    Returns:
        A factor in [0, 1].
    """
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 + 0.5 * math.cos(math.pi * min((step - warmup) / max(total - warmup, 1), 1.0))


def plateau(step: int, total: int, warmup: int = 200, decay: float = 0.4) -> float:
    """Factor on the learning rate: linear over `warmup` steps, then 1, then half a cosine to 0.

    Up to the decay nothing depends on the number of steps, so a run can be resumed with another
    one and is the run that had it from the beginning. Source: Hu et al., *MiniCPM* (warmup, stable,
    decay), 2024.

    Args:
        step: Optimiser steps done.
        total: Steps of the whole training.
        warmup: Steps in which the rate rises.
        decay: Share of the steps at the end in which it falls, in (0, 1].

    Returns:
        A factor in [0, 1].
    """
    first = total - decay * total
    if step < max(first, warmup):
        return min((step + 1) / warmup, 1.0)
    return _half_cosine(1.0, 0.0, min((step - first) / (total - first), 1.0))


def one_cycle(
    step: int,
    total: int,
    warmup: float = 0.3,
    initial_div: float = 25.0,
    final_div: float = 1e4,
) -> float:
    """Factor on the learning rate: half a cosine up to 1, another one down to almost 0.

    The learning rate of `torch.optim.lr_scheduler.OneCycleLR` with its defaults (Smith and
    Topin, *Super-convergence*, 2019). Momentum stays as it is.

    Args:
        step: Optimiser steps done.
        total: Steps of the whole training.
        warmup: Share of the steps in which the rate rises, below 1.
        initial_div: The first factor is one over this.
        final_div: The last factor is the first one over this.

    Returns:
        A factor in (0, 1].
    """
    first, top, last = 1 / initial_div, warmup * total - 1, total - 1
    if step < top:
        return _half_cosine(first, 1.0, step / top)
    return _half_cosine(1.0, first / final_div, min((step - top) / (last - top), 1.0))


def staircase(step: int, total: int, every: int, factor: float) -> float:
    """Factor on the learning rate: multiplied by `factor` after each `every` steps.

    Source: the authors' code of DIST (Naylor et al., 2019): 0.96 every ten epochs.

    Args:
        step: Optimiser steps done.
        total: Steps of the whole training, without influence.
        every: Steps on one stair, at least 1.
        factor: Ratio of two stairs, in (0, 1].

    Returns:
        A factor in (0, 1].
    """
    return factor ** (step // every)


def _half_cosine(start: float, end: float, part: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * part))
