"""Pretrained weights for any net: `weights=null | imagenet | coco | nuclei | <file>`.

All sources go through one function, because all have the same two dangers: a file that runs code,
and a file that fills only a part of a net unnoticed. Nothing that is read is executed. Only what
partial annotation adds (attention, centre head) and the last layers, whose size depends on the
number of classes, may keep their random values; `LoadReport` lists them.
"""

import pickle
import re
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights
from torchvision.ops import FrozenBatchNorm2d

from nucleist.models.net import Net
from nucleist.models.weights.detectron import load_detectron, rescale_rpn_deltas
from nucleist.models.weights.shipped import shipped_file
from nucleist.types import UserError

COCO = {"resnet50": MaskRCNN_ResNet50_FPN_Weights.COCO_V1}
SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".pkl")

LAST_LAYERS = r"^roi_heads\.(box_predictor|mask_predictor\.mask_fcn_logits)\."
OPTIONAL = re.compile(rf"{LAST_LAYERS}|^rpn\.center_head\.|^backbone\.(.*\.)?[^.]*attention")
RESIZED = re.compile(rf"{LAST_LAYERS}|^rpn\.head\.(cls_logits|bbox_pred)\.")
COUNTER = "num_batches_tracked"  # of BatchNorm, without influence; frozen ones have none
# Before 0.13 torchvision named three modules otherwise, and its COCO file still does.
OLD_NAMES = (
    (re.compile(r"^(backbone\.fpn\.(?:inner|layer)_blocks\.\d)\.(weight|bias)$"), r"\1.0.\2"),
    (re.compile(r"^rpn\.head\.conv\.(weight|bias)$"), r"rpn.head.conv.0.0.\1"),
)
OLD_MASK = re.compile(r"^roi_heads\.mask_head\.mask_fcn(\d)\.(weight|bias)$")


@dataclass(frozen=True)
class LoadReport:
    """What a weights file filled, and what it did not.

    Attributes:
        source: Where the values came from: `null`, or the file.
        loaded: Number of tensors copied into the net.
        unfilled: Keys of the net that keep their initial values.
        unused: Names in the file that found no place.
        notes: Further facts for the log, one sentence each.
    """

    source: str
    loaded: int
    unfilled: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def summary(self) -> str:
        """One paragraph for the log, with the keys counted by module."""
        total = self.loaded + len(self.unfilled)
        if self.source == "null":
            return f"no pretrained weights (weights=null), all {total} tensors begin at random"
        text = f"Weights from {self.source}: {self.loaded} of {total} tensors filled."
        if self.unfilled:
            text += f" Initial values kept in {_by_module(self.unfilled)}."
        if self.unused:
            text += f" Not used from the file: {_by_module(self.unused)}."
        return " ".join([text, *self.notes])


def load_weights(
    net: Net,
    weights: str | None,
    backbone_name: str,
    *,
    rescale_rpn: bool = True,
    complete: bool = False,
) -> LoadReport:
    """Fill a net from published weights or a file, in place.

    How it works: the source becomes a state dict under torchvision's names; last layers and
    RPN outputs of another size are dropped; all other names and shapes have to fit before the
    first value is copied. RPN deltas of foreign COCO models (Detectron's, torchvision's) are for
    box-coder weights of 1 and are rescaled to the net's. A file is taken for torchvision's if its
    number of classes differs from the net's.

    Args:
        net: Any net; only those with `can.coco_weights` take `"coco"`.
        weights: `None`; `"imagenet"`, the body alone; `"coco"`, all but the class layers;
            `"nuclei"`, the package's own; or a path: `.safetensors`, `.pt`, `.pth` (state dict),
            `.ckpt` (Lightning, keys under `net.`) or `.pkl` (Detectron).
        backbone_name: torchvision's name of the body (`resnet18`), for the first two.
        rescale_rpn: Rescale foreign RPN deltas; False repeats the authors' code.
        complete: Every key must be filled and used, as for a checkpoint to be evaluated.

    Returns:
        What was filled and what not.

    Raises:
        UserError: If there are no such weights, they cannot be downloaded or read, would run
            code, or do not fit the net. The net is then unchanged.
    """
    own = net.state_dict()
    if weights is None or not own:  # nothing is filled, or there is nothing to fill
        return LoadReport("null", 0, tuple(own))
    if weights == "coco" and not net.can.coco_weights:
        raise UserError(
            f"weights=coco: they are a Mask R-CNN's and do not fit {type(net).__name__}; use "
            "weights=imagenet for a ResNet body, weights=null or weights=<file>"
        )
    path = _find(weights, backbone_name)
    unused: list[str] = []
    notes: list[str] = []
    if path.suffix == ".pkl":
        state, unused = load_detectron(path, own)
        foreign, body_only = True, False
    else:
        state = _modern_names(_read_state(path))
        body_only = "layer1.0.conv1.weight" in state
        if body_only:
            unused = [key for key in state if key.startswith("fc.")]
            state = {f"backbone.body.{k}": v for k, v in state.items() if k not in unused}
        foreign = _classes(state) not in (None, _classes(own))
    if foreign and rescale_rpn and (coder := net.box_weights()) is not None:
        state = rescale_rpn_deltas(state, coder)
    if foreign or body_only:
        notes += _eps_note(net, wanted=1e-5 if body_only else 0.0)
    fitting, left = _match(own, state, path, body_only=body_only, complete=complete)
    net.load_state_dict(fitting, strict=False)
    unfilled = tuple(k for k in own if k not in fitting and not k.endswith(COUNTER))
    return LoadReport(str(path), len(fitting), unfilled, (*unused, *left), tuple(notes))


def _find(weights: str, backbone_name: str) -> Path:
    """The file that holds the weights, downloaded if it is a published one."""
    if weights == "imagenet":
        names = [n for n in torchvision.models.list_models(torchvision.models) if "resne" in n]
        if backbone_name not in names:
            raise _unpublished(weights, backbone_name, names)
        return _download(torchvision.models.get_model_weights(backbone_name).DEFAULT.url)
    if weights == "coco":
        if backbone_name not in COCO:
            raise _unpublished(weights, backbone_name, COCO)
        return _download(COCO[backbone_name].url)
    path = Path(weights).expanduser()
    if not path.is_file():
        if shipped := shipped_file(weights):
            return shipped
        kind = "a folder" if path.is_dir() else "no such file"
        remedy = "use null, nuclei, imagenet, coco or the path of a file"
        raise UserError(f"weights={weights}: {kind}; {remedy}")
    if path.suffix not in SUFFIXES:
        raise UserError(
            f"{path}: unknown kind of weights {path.suffix!r}; use {', '.join(SUFFIXES)}"
        )
    return path


def _unpublished(weights: str, backbone_name: str, names: Iterable[str]) -> UserError:
    return UserError(
        f"weights={weights}: torchvision publishes none for the net {backbone_name!r}, only for "
        f"{', '.join(names)}; use one of these nets, weights=null or weights=<file>"
    )


def _download(url: str) -> Path:
    """The file in torch's cache, fetched and checked by its hash if it is not there yet."""
    path = Path(torch.hub.get_dir(), "checkpoints", url.rsplit("/", 1)[-1])
    if path.exists():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The name ends in the first digits of the hash; the file appears only when complete.
        torch.hub.download_url_to_file(url, str(path), path.stem.rsplit("-", 1)[-1])
    except Exception as error:  # URLError, HTTPException, RuntimeError for a wrong hash, ...
        reason = " ".join(str(error).split()) or type(error).__name__
        remedy = f"put the file at {path} by hand, or name your copy with weights=<file>"
        raise UserError(f"{url}: download failed ({reason}); {remedy}") from error
    return path


def read_file(path: Path) -> Any:
    """What a weight file or checkpoint holds; nothing in it is executed.

    Raises:
        UserError: If the file is damaged, or holds more than tensors and plain containers.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols; the errors below are enough
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        name = re.search(r"GLOBAL (\S+)", str(error))
        if name is None:
            raise _damaged(path, "no weights in it") from error
        raise UserError(
            f"{path}: refused, since it holds {name[1]} beside tensors and so may run code; "
            "save the state dict alone, best as .safetensors"
        ) from error
    except (OSError, SafetensorError) as error:
        raise _damaged(path, str(error)) from error
    except Exception as error:  # damaged archives fail in any way
        raise _damaged(path, type(error).__name__) from error


def _read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, by name."""
    content = read_file(path)
    content = content.get("state_dict", content) if isinstance(content, dict) else {}
    if any(str(key).startswith("net.") for key in content):
        content = {k[4:]: v for k, v in content.items() if str(k).startswith("net.")}
    if not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise _damaged(path, "no state dict in it")
    return dict(content)


def _damaged(path: Path, reason: str) -> UserError:
    reason = " ".join(reason.split())
    return UserError(f"{path}: not readable as weights ({reason}); get a fresh copy of the file")


def _modern_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for key, value in state.items():
        for old, new in OLD_NAMES:
            key = old.sub(new, key)
        if match := OLD_MASK.match(key):
            key = f"roi_heads.mask_head.{int(match[1]) - 1}.0.{match[2]}"
        renamed[key] = value
    return renamed


def _match(
    own: dict[str, Tensor], state: dict[str, Tensor], path: Path, *, body_only: bool, complete: bool
) -> tuple[dict[str, Tensor], list[str]]:
    """What fits, and the names in the file that are left; everything else raises."""
    fitting = {k: v for k, v in state.items() if k in own and own[k].shape == v.shape}
    left = [key for key in state if key not in fitting and not key.endswith(COUNTER)]
    resized = {k for k in left if k in own and RESIZED.search(k) and not complete}

    def may_stay(key: str) -> bool:
        if key.endswith(COUNTER) or key in resized:
            return True
        outside = body_only and not key.startswith("backbone.body.")
        return not complete and (outside or OPTIONAL.search(key) is not None)

    shapes = [
        f"{key} {tuple(state[key].shape)} for {tuple(own[key].shape)}"
        for key in left
        if key in own and key not in resized
    ]
    missing = [k for k in own if k not in fitting and k not in state and not may_stay(k)]
    unknown = [key for key in left if key not in own and not may_stay(key)]
    if shapes or missing or unknown:
        problems = [
            f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
            for names, what in (
                (missing, "keys missing"),
                (unknown, "keys unknown"),
                (shapes, "of another shape"),
            )
            if names
        ]
        raise UserError(
            f"{path}: does not fit this net: {', '.join(problems)}; "
            "use the net the file was made for, or another file"
        )
    return fitting, left


def _classes(state: dict[str, Tensor]) -> int | None:
    scores = state.get("roi_heads.box_predictor.cls_score.weight")
    return None if scores is None else len(scores)


def _eps_note(net: nn.Module, wanted: float) -> list[str]:
    kinds = (nn.BatchNorm2d, FrozenBatchNorm2d)
    found = {m.eps for m in net.modules() if isinstance(m, kinds)} - {wanted}
    if not found:
        return []
    return [
        f"The file was trained with normalisation eps {wanted:g}, the net has "
        f"{', '.join(f'{eps:g}' for eps in sorted(found))}."
    ]


def _by_module(keys: Iterable[str]) -> str:
    counts: Counter[str] = Counter()
    for key in keys:
        before, found, _ = key.partition("attention")
        counts[before + found if found else ".".join(key.split(".")[:2])] += 1
    return ", ".join(f"{module} ({count})" for module, count in counts.items())
