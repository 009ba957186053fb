"""Where a net runs."""

import torch

from nucleist.types import UserError


def choose_device(name: str | torch.device) -> torch.device:
    """A device by name; `auto` takes a GPU where there is one.

    Raises:
        UserError: If the device is unknown or absent.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device={name}: not available here; use auto or cpu") from error
    return device
