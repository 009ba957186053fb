"""Labels that are drawn in an alpha channel, or hidden by it."""

import numpy as np

from nucleist.types import UserError


def check_alpha(colors: np.ndarray, alpha: np.ndarray, where: str) -> None:
    """Refuse a label image whose transparency matters.

    That is one that is transparent at some labels, or black all over and in parts transparent.
    Where transparent pixels are 0, as programs for painting leave them, nothing is hidden.

    Args:
        colors: `(H, W)` or `(H, W, C)`, any number type.
        alpha: `(H, W)`, largest where opaque.
        where: The file, for messages.

    Raises:
        UserError: If so.
    """
    inked = colors.any(2) if colors.ndim == 3 else colors != 0
    clear = alpha < alpha.max(initial=0)
    if clear.any() and (not inked.any() or (inked & clear).any()):
        raise UserError(
            f"{where}: the alpha channel is not the same everywhere, so that part of the labels is "
            "drawn in transparency or hidden by it; flatten the image onto black"
        )
