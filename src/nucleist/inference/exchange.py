"""A trained Mask R-CNN for other runtimes: TorchScript and ONNX.

Both take images that are normalised already; the files say how in their metadata.
"""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nucleist.files import replacing
from nucleist.inference.load import Model
from nucleist.models.rcnn.graph import DetectionGraph, LabelGraph, painted
from nucleist.models.rcnn.net import MaskRCNN
from nucleist.types import UserError

OPSET = 17
EXAMPLE = (160, 224)
"""Height and width of the image that is traced; others of any size will do afterwards."""


def write_torchscript(path: Path, model: Model) -> None:
    """Write a TorchScript module: `(1, 3, H, W)` to a label map `(1, 1, H, W)` `int32`.

    Raises:
        UserError: If the model is not a Mask R-CNN that keeps the images' scale.
    """
    with quiet():
        module = torch.jit.trace(
            LabelGraph(traceable(model), model.threshold, torch.jit.script(painted)).eval(),
            example()[None],
            check_trace=False,
        )
        with replacing(path) as temporary:
            torch.jit.save(module, str(temporary), {"nucleist.json": json.dumps(described(model))})


def write_onnx(path: Path, model: Model) -> None:
    """Write an ONNX graph: `(3, H, W)` to boxes `(N, 4)`, scores `(N,)`, masks `(N, 28, 28)`.

    Raises:
        UserError: If the package `onnx` is missing, or the model is not a Mask R-CNN that keeps
            the images' scale.
    """
    try:
        import onnx
    except ImportError as error:
        raise UserError("format=onnx needs onnx: pip install 'nucleist[onnx]'") from error
    names = ["boxes", "scores", "masks"]
    axes: dict[str, dict[int, str]] = {name: {0: "nuclei"} for name in names}
    graph = DetectionGraph(traceable(model), model.threshold).eval()
    with replacing(path) as temporary:
        with quiet():
            torch.onnx.export(
                graph,
                (example(),),
                str(temporary),
                dynamo=False,
                opset_version=OPSET,
                input_names=["image"],
                output_names=names,
                dynamic_axes={"image": {1: "height", 2: "width"}, **axes},
            )
        content = onnx.load(str(temporary))
        onnx.helper.set_model_props(content, {"nucleist": json.dumps(described(model))})
        onnx.save(content, str(temporary))


def traceable(model: Model) -> MaskRCNN:
    """The net of a model.

    Raises:
        UserError: If it is not a Mask R-CNN that keeps the images' scale and divides boxes exactly.
    """
    net = model.net
    if not isinstance(net, MaskRCNN):
        kind = type(net).__name__
        raise UserError(f"{model.path}: a {kind}; only Mask R-CNN has this format")
    if not net.transform.native_scale or net.transform.paste["alignment"] != "exact":
        raise UserError(
            f"{model.path}: resizes images or aligns masks as torchvision; this format is for "
            "model.transform.min_size=null and model.mask_alignment=exact"
        )
    return net


def described(model: Model) -> dict[str, Any]:
    """What a user of the file has to know: normalisation and score threshold."""
    return {"normalize": dict(model.config["normalize"]), "score_threshold": model.threshold}


def example() -> Tensor:
    """An image to trace: noise, so that there is something to look at everywhere."""
    return torch.rand(3, *EXAMPLE, generator=torch.Generator().manual_seed(0))


@contextmanager
def quiet() -> Iterator[None]:
    """Trace without gradients and without warnings: of constants, and that tracing is old."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
