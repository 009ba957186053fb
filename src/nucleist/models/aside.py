"""Parts that must not disturb the initial weights of the net they are added to."""

from contextlib import AbstractContextManager
from typing import Any

import torch


def aside() -> AbstractContextManager[Any]:
    """Initialise what is built inside without using up the caller's random numbers.

    Under one seed the parameters that two nets share then begin equal, with and without the
    added part, so that a comparison is of the method and not of the draw.
    """
    return torch.random.fork_rng(devices=[])
