"""A trained model in one `.safetensors` file: weights in half precision, and how to build the net.

The header's metadata have one entry, `nucleist`, a JSON object: `format` (1), `config` with
`model`, `normalize`, `name` and `seed`, `calibrated_threshold`, `nucleus_diameter` (px) and
`pixel_size` (um) of the training, null where they are not known, `trained_on` (hashes of the pixels
of the training images) and `provenance`. Neither the data's place nor anything that could be
executed is in the file.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from nucleist.files import replacing
from nucleist.types import UserError

FORMAT = 1
KEY = "nucleist"


def compressed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict with matrices and kernels in `float16`.

    Vectors, such as biases and the statistics of batch normalisation, stay `float32`: they are
    small, and the variances span many orders of magnitude.
    """
    return {
        key: (value.half() if value.is_floating_point() and value.dim() > 1 else value)
        .detach()
        .cpu()
        .contiguous()
        .clone()
        for key, value in state.items()
    }


def write_portable(path: Path, state: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write a model; the same model gives the same bytes.

    Args:
        path: A `.safetensors` file.
        state: The net's state dict.
        about: See the module, without `format`.

    Raises:
        UserError: If the file cannot be written.
    """
    tensors = compressed(state)
    if not all(torch.isfinite(value).all() for value in tensors.values()):
        raise UserError(f"{path}: the weights are not finite in half precision; keep the .ckpt")
    line = json.dumps({"format": FORMAT, **about}, sort_keys=True)
    with replacing(path) as temporary:
        temporary.write_bytes(save(tensors, {KEY: line}))  # save_file's may be read by few


def read_about(path: Path) -> dict[str, Any]:
    """What a `.safetensors` file says beside its weights; empty if it is not one of ours.

    Raises:
        UserError: If it cannot be read, or is of a later version.
    """
    try:
        with safe_open(path, "pt") as file:
            line = (file.metadata() or {}).get(KEY)
        about = {} if line is None else json.loads(line)
    except (OSError, SafetensorError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not readable ({reason}); get a fresh copy of the file") from error
    if about and about.get("format") != FORMAT:
        raise UserError(f"{path}: of a later version of nucleist; update nucleist")
    return dict(about)
