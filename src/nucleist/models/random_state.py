"""Parts that must not disturb the initial weights of the net they are added to."""

from contextlib import AbstractContextManager
from typing import Any

import torch


def untouched_random_state() -> AbstractContextManager[Any]:
    """Restore the CPU's random state at the end, so that what is built inside draws nothing.

    Under one seed the parameters that two nets share then begin equal, with and without the
    added part, so that a comparison is of the methods and not of two draws.
    """
    return torch.random.fork_rng(devices=[])
