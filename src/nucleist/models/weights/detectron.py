"""Weights of Facebook's Detectron (2018), the paper's starting point, as torchvision names.

The partial-annotation paper (Feng et al., IEEE Access 2019) starts from the COCO model
`e2e_mask_rcnn_X-101-64x4d-FPN_1x`, a Python-2 pickle of Caffe2 blobs. A pickle can run any
program while it is read. This reader accepts seven names, each bound to a harmless stand-in that
only stores its arguments, and refuses a file with any other name; arrays are built afterwards from
bytes that were checked.

The file was trained with a normalisation eps of 0 (Caffe2's affine channels), BGR images in 0..255
minus their mean, and RPN box-coder weights of 1. The first is an option of the net, the other two
are converted here.
"""

import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from nucleist.types import UserError

NUMERIC = re.compile(r"[<>=|]([fiu][1248]|b1)")
BOOKKEEPING = re.compile(r"_momentum$|^weight_order$")
CLASSES = re.compile(r"^(cls_score|bbox_pred|mask_fcn_logits|fc1000|pred)_[wb]$")
CONV_BIAS = re.compile(r"^(conv1|res\d_\d+_branch(1|2[abc]))_b$")
WEIGHT = re.compile(r"_[wbs]$")
FIRST = "backbone.body.conv1.weight"


class _Dtype:
    """Stand-in for `numpy.dtype`: its code (`f4`) and byte order."""

    def __init__(self, code: object, *_: object) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1]

    def numpy(self) -> np.dtype:
        """The NumPy type, of plain numbers only."""
        code = f"{self.order}{self.code}"
        if not NUMERIC.fullmatch(code):
            raise ValueError(f"array of {self.code!r} in place of numbers")
        return np.dtype(code)


class _Array:
    """Stand-in for `numpy.ndarray`: bytes, type and shape as the pickle gives them."""

    def __init__(self, *_: object) -> None:
        self.state: tuple = ()

    def __setstate__(self, state: tuple) -> None:
        self.state = state

    def numpy(self) -> np.ndarray:
        """The NumPy array; Python 2 wrote its bytes as text, one character each."""
        _, shape, dtype, fortran, raw = self.state
        raw = raw.encode("latin1") if isinstance(raw, str) else raw
        return np.frombuffer(raw, dtype.numpy()).reshape(shape, order="F" if fortran else "C")


def _from_buffer(buffer: bytes, dtype: _Dtype, shape: tuple, order: str = "C") -> _Array:
    """How NumPy writes an array since pickle protocol 5."""
    array = _Array()
    array.__setstate__((1, shape, dtype, order == "F", buffer))
    return array


def _encode(text: str, *_: object) -> bytes:
    """How Python 3 writes bytes in the old protocols."""
    return text.encode("latin1")


class _Unpickler(pickle.Unpickler):
    """Reads containers, numbers, text and arrays; refuses every other name."""

    known: Mapping[str, Callable] = {
        "numpy.dtype": _Dtype,
        "numpy.ndarray": _Array,
        "numpy.core.multiarray._reconstruct": _Array,
        "numpy.core.multiarray.scalar": _Array,  # never a weight: stays empty
        "numpy.core.numeric._frombuffer": _from_buffer,
        "_codecs.encode": _encode,
        "collections.OrderedDict": OrderedDict,
    }

    def __init__(self, file: BinaryIO, path: str | Path) -> None:
        super().__init__(file, encoding="latin1")
        self.path = path

    def find_class(self, module: str, name: str) -> Any:
        asked = f"{module}.{name}".replace("numpy._core.", "numpy.core.")  # NumPy 2 moved it
        if asked not in self.known:
            raise UserError(
                f"{self.path}: refused, since it names {asked} and so may run code; "
                "get it from Detectron's model zoo"
            )
        return self.known[asked]


def read_blobs(path: str | Path) -> dict[str, np.ndarray]:
    """Read the arrays of a Detectron pickle without running anything in it.

    Args:
        path: A pickle, `{"blobs": {name: array}}` or the inner dict alone.

    Returns:
        Each array under its blob's name, momentum buffers left out.

    Raises:
        UserError: If the file cannot be read or names more than arrays and containers.
    """
    try:
        with Path(path).open("rb") as file:
            content = _Unpickler(file, path).load()
        blobs = content.get("blobs", content)
        return {
            name: blob.numpy()
            for name, blob in blobs.items()
            if isinstance(blob, _Array) and blob.state and not BOOKKEEPING.search(name)
        }
    except UserError:
        raise
    except Exception as error:  # damaged pickles fail in any way
        reason = " ".join(str(error).split()) or type(error).__name__
        message = f"{path}: not a readable Detectron pickle ({reason}); download it again"
        raise UserError(message) from error


def blob_to_key(depths: Sequence[int] = (3, 4, 23, 3)) -> dict[str, str]:
    """Every blob that is loaded, with the torchvision key it fills.

    Args:
        depths: Blocks in each of the four residual stages; the default is ResNeXt-101.

    Returns:
        One-to-one table from Caffe2 blob name to the key of torchvision's `MaskRCNN`.
    """
    units = [("conv1", "res_conv1", "conv1", "bn1")]  # blobs and modules: convolution, norm
    for stage, depth in enumerate(depths, start=1):
        for block in range(depth):
            blob, key = f"res{stage + 1}_{block}_branch", f"layer{stage}.{block}"
            for n, branch in enumerate("abc", start=1):
                conv = f"{blob}2{branch}"
                units.append((conv, conv, f"{key}.conv{n}", f"{key}.bn{n}"))
            if block == 0:
                down = f"{key}.downsample"
                units.append((f"{blob}1", f"{blob}1", f"{down}.0", f"{down}.1"))
    table = {}
    for conv, norm, conv_key, norm_key in units:
        table[f"{conv}_w"] = f"backbone.body.{conv_key}.weight"
        table[f"{norm}_bn_s"] = f"backbone.body.{norm_key}.weight"
        table[f"{norm}_bn_b"] = f"backbone.body.{norm_key}.bias"

    layers = {
        "conv_rpn_fpn2": "rpn.head.conv.0.0",
        "rpn_cls_logits_fpn2": "rpn.head.cls_logits",
        "rpn_bbox_pred_fpn2": "rpn.head.bbox_pred",
        "fc6": "roi_heads.box_head.fc6",
        "fc7": "roi_heads.box_head.fc7",
        "conv5_mask": "roi_heads.mask_predictor.conv5_mask",
    }
    layers |= {f"_[mask]_fcn{n}": f"roi_heads.mask_head.{n - 1}.0" for n in range(1, 5)}
    for level, depth in enumerate(depths):
        top = f"res{level + 2}_{depth - 1}_sum"
        lateral = "" if level == len(depths) - 1 else "_lateral"  # the top has nothing to join
        layers[f"fpn_inner_{top}{lateral}"] = f"backbone.fpn.inner_blocks.{level}.0"
        layers[f"fpn_{top}"] = f"backbone.fpn.layer_blocks.{level}.0"
    for blob, key in layers.items():
        table |= {f"{blob}_w": f"{key}.weight", f"{blob}_b": f"{key}.bias"}
    return table


def convert_blobs(
    blobs: Mapping[str, np.ndarray], depths: Sequence[int] = (3, 4, 23, 3)
) -> tuple[dict[str, Tensor], list[str]]:
    """Rename Detectron's blobs and undo what Caffe2 did differently.

    The channels of the first convolution are reversed, so that RGB in [0, 1] with
    `image_mean = mean_rgb / 255` and `image_std = 1 / 255` gives what BGR less its mean gave.
    A convolution's own bias goes into the shift after it; running statistics are 0 and 1.

    Args:
        blobs: Arrays by blob name.
        depths: Blocks in each residual stage of the net to fill.

    Returns:
        The state dict, `float32`, under torchvision's names, and the blobs left out by intent.

    Raises:
        UserError: If a blob is missing, or there is a weight that this net has no place for.
    """
    table = blob_to_key(depths)
    missing = [name for name in table if name not in blobs]
    rest = [name for name in blobs if name not in table and not CONV_BIAS.match(name)]
    strange = [name for name in rest if WEIGHT.search(name) and not CLASSES.match(name)]
    if missing or strange:
        raise UserError(
            f"Detectron blobs do not fit a net of {'-'.join(map(str, depths))} blocks: "
            f"{len(missing)} missing ({', '.join(missing[:3]) or 'none'}), "
            f"{len(strange)} unknown ({', '.join(strange[:3]) or 'none'}); "
            "use e2e_mask_rcnn_X-101-64x4d-FPN_1x with the resnext101_64x4d net"
        )
    state = {}
    for name, key in table.items():
        # A copy: what came from bytes is read-only, which torch cannot be.
        state[key] = torch.from_numpy(np.array(blobs[name], dtype=np.float32, order="C"))
        if name.endswith("_bn_b"):
            state[key] = _fold_conv_bias(blobs, name, state[key])
            state[key.replace(".bias", ".running_mean")] = torch.zeros_like(state[key])
            state[key.replace(".bias", ".running_var")] = torch.ones_like(state[key])
    if state[FIRST].ndim == 4:  # another shape is reported with all that does not fit
        state[FIRST] = state[FIRST].flip(1)
    return state, rest


def _fold_conv_bias(blobs: Mapping[str, np.ndarray], name: str, shift: Tensor) -> Tensor:
    """Scale * (conv + b) + shift = scale * conv + (shift + scale * b)."""
    conv = name.removeprefix("res_").replace("_bn_b", "_b")  # res_conv1_bn_b goes with conv1_b
    if conv not in blobs:
        return shift
    bias, scale = blobs[conv], blobs[name[:-1] + "s"]
    if not bias.shape == scale.shape == tuple(shift.shape):
        raise UserError(
            f"Detectron blob {conv} has shape {bias.shape}, its normalisation "
            f"{tuple(shift.shape)}; download the file again"
        )
    return shift + torch.from_numpy(np.asarray(scale * bias, dtype=np.float32))


def load_detectron(
    path: str | Path, net_state: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """Read a Detectron pickle for the net with the given state dict.

    Returns:
        As `convert_blobs`. RPN deltas are still for box-coder weights of 1.

    Raises:
        UserError: As `read_blobs` and `convert_blobs`, and if the net is no ResNeXt.
    """
    depths = _grouped_depths(net_state)
    if depths is None:
        raise UserError(
            f"{path}: Detectron weights fit the resnext101_64x4d net only, and this net's body "
            "is another; use weights=imagenet or weights=coco"
        )
    blobs = read_blobs(path)
    try:
        return convert_blobs(blobs, depths)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _grouped_depths(net_state: Mapping[str, Tensor]) -> list[int] | None:
    """Blocks per stage, None unless a ResNeXt (convolutions in groups).

    Plain ResNets differ in where the stride is: shapes would agree and features would not.
    """
    conv = net_state.get("backbone.body.layer1.0.conv2.weight")
    if conv is None or conv.shape[0] == conv.shape[1]:
        return None
    stages = re.findall(r"body\.layer(\d)\.\d+\.conv3\.weight", " ".join(net_state))
    return [stages.count(stage) for stage in "1234"]


def rescale_rpn_deltas(
    state: Mapping[str, Tensor],
    weights: Sequence[float],
    trained: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
) -> dict[str, Tensor]:
    """Convert an RPN's deltas from one set of box-coder weights to another; boxes stay the same.

    A decoder divides (dx, dy, dw, dh) by its weights, so each row of the prediction layer is
    multiplied by new / old; channel = anchor * 4 + coordinate.

    Args:
        state: State dict, with or without `rpn.head.bbox_pred.*`.
        weights: Box-coder weights of the net to fill, in the order dx, dy, dw, dh.
        trained: Those the state was trained with.

    Returns:
        A new dict; only the RPN's delta tensors are new.
    """
    ratio = torch.tensor([new / old for new, old in zip(weights, trained, strict=True)])
    rescaled = dict(state)
    for name in ("weight", "bias"):
        key = f"rpn.head.bbox_pred.{name}"
        if key in rescaled and len(rescaled[key]) % 4 == 0:
            value = rescaled[key]
            rows = ratio.to(value).repeat(len(value) // 4)
            rescaled[key] = value * rows.reshape(-1, *[1] * (value.ndim - 1))
    return rescaled
