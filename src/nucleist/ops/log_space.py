"""Losses of a probability known by its logarithm, exact where the probability is tiny or near 1.

The canonical-shape net (Costa et al., MIDL 2022) multiplies two probabilities and takes a maximum
over many; in log space nothing underflows and a pixel that no shape covers still has a gradient.
"""

import math

import torch
from torch import Tensor

LOG_MAX = -1e-6
"""Largest log probability in a loss: at 0 the logarithm of the complement is infinite."""


def log1mexp(a: Tensor) -> Tensor:
    """`log(1 - exp(a))`, to the precision of the type.

    Near 0 `1 - exp(a)` cancels and `expm1` does not; far below, `exp(a)` is lost beside 1 and
    `log1p` keeps it (Maechler, *Accurately computing log(1 - exp(-|a|))*, 2012).

    Args:
        a: Any shape, below 0.
    """
    near = a > -math.log(2)
    # The branch that is not taken gets a harmless value: 0 times an infinite gradient is NaN.
    close = torch.where(near, a, -1.0)
    far = torch.where(near, -1.0, a)
    return torch.where(near, (-torch.expm1(close)).log(), torch.log1p(-far.exp()))


def scaled_logit(logit: Tensor, factor: float) -> Tensor:
    """Logit of a probability times a factor, from the probability's logit.

    Args:
        logit: Any shape, any float type; the result is `float32`.
        factor: In (0, 1); 1 would change nothing.
    """
    # c / (1 + e^-z) over its complement is c / (1 - c + e^-z).
    z = logit.float()
    return math.log(factor) - torch.logaddexp(z.new_tensor(math.log1p(-factor)), -z)


def log_bce(log_p: Tensor, target: Tensor) -> Tensor:
    """Binary cross entropy of each element, `-(y log p + (1 - y) log(1 - p))`.

    Args:
        log_p: Any shape, finite; values above `LOG_MAX` count as that.
        target: Same shape, in [0, 1].
    """
    a = log_p.clamp(max=LOG_MAX)
    return -(target * a + (1 - target) * log1mexp(a))


def smooth_dice(log_p: Tensor, target: Tensor, smooth: float = 1.0) -> Tensor:
    """Dice loss over all elements, `1 - (2 sum(p y) + s) / (sum(p) + sum(y) + s)`.

    Args:
        log_p: Any shape, at most 0.
        target: Same shape, in [0, 1].
        smooth: The `s` that makes an empty mask's loss finite; 0 loss for empty on empty.

    Returns:
        A scalar in [0, 1].
    """
    p = log_p.exp()
    return 1 - (2 * (p * target).sum() + smooth) / (p.sum() + target.sum() + smooth)
