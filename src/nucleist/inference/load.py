"""Load a trained model from its run folder or checkpoint, calling only code that is trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import yaml

from nucleist.config.build import build
from nucleist.config.earlier import BEFORE, lacking
from nucleist.config.options import with_options
from nucleist.config.targets import Trust, check_targets
from nucleist.data.formats.channels import Choice
from nucleist.data.pictures.picture import Picture
from nucleist.files import read_json_if_there
from nucleist.inference.device import choose_device
from nucleist.inference.first_pass import settled
from nucleist.inference.opened import one_picture
from nucleist.inference.result import Result
from nucleist.inference.scaling import (
    UNKNOWN,
    Diameter,
    PixelSize,
    Scaling,
    Trained,
    at_scale,
    trained_scale,
)
from nucleist.inference.tiles.cut import Cut, Overlap, Tile
from nucleist.inference.tiles.predict import predict_picture
from nucleist.inference.tiles.run import Job
from nucleist.models.net import Net
from nucleist.models.weights.load import load_weights, read_file
from nucleist.models.weights.portable import read_about
from nucleist.models.weights.shipped import shipped_file
from nucleist.ops.normalize import Normalize
from nucleist.progress import shown
from nucleist.types import Progress, UserError

HINT = "give a run folder, the .ckpt of its checkpoints folder, or the name of a shipped model"
BUILT = ("model", "normalize")  # what is needed and built; a run's `data` is checked elsewhere
MODEL_FILES = (".ckpt", ".safetensors")


@dataclass(frozen=True)
class Model:
    """A trained net with everything that it needs to outline nuclei.

    Attributes:
        net: The net in eval mode.
        normalize: The normalisation it was trained with.
        threshold: Its calibrated score threshold, in [0, 1]; 0.5 if the training was cut before
            it was calibrated.
        config: `model`, `data`, `normalize`, `name` and `seed` of its training, with the options
            of the model that were changed; an exported model has no `data`.
        path: The checkpoint.
        trained: How large nuclei and pixels were in training.
    """

    net: Net
    normalize: Normalize
    threshold: float
    config: Mapping[str, Any]
    path: Path
    trained: Trained = UNKNOWN

    @property
    def device(self) -> torch.device:
        """Where the net is."""
        return self.net.device

    def to(self, device: str | torch.device) -> Model:
        """Move the net to a device: `cpu`, `cuda`, `cuda:1`, `mps`, or `auto`.

        Raises:
            UserError: If there is no such device.
        """
        self.net.to(choose_device(device))
        return self

    def predict(
        self,
        image: str | Path | np.ndarray | Picture,
        score_threshold: float | None = None,
        pieces: float = 0,
        *,
        channel: int | str | None = None,
        z: int | Literal["project"] | None = None,
        t: int | None = None,
        diameter: Diameter | None = None,
        pixel_size: PixelSize | None = None,
        tile: Tile = "auto",
        overlap: Overlap = "auto",
        symmetries: int = 1,
        progress: bool | Progress = False,
    ) -> Result:
        """Outline the nuclei of one image.

        Args:
            image: A file of any kind, a picture, or an array `(H, W)` or `(H, W, 3)` of integers
                or floats, as stored.
            score_threshold: Detections with a higher score count, in [0, 1]; None for the
                calibrated one.
            pieces: Pieces of a nucleus below this share of its largest one are dropped, in [0, 1];
                see `nucleist.ops.pieces`.
            channel: Number, from 1, or name of the channel that shows the nuclei, of a file with
                several; see `nucleist.data.formats.channels.Choice`.
            z: Number of the plane, from 1, or `"project"`; likewise.
            t: Number of the time, from 1; likewise.
            diameter: Typical diameter of the nuclei, pixels: the image is outlined at the scale of
                the training. `"auto"` for that of the nuclei of a first pass. Label map and
                measurements are of the image as it is.
            pixel_size: Or: width of a pixel in micrometres, or `"auto"` for what the file says.
            tile: Side of the tiles of a large image, pixels; see `inference.tiles.cut.Cut`.
            overlap: What neighbouring tiles share, pixels; likewise.
            symmetries: 1, or 8: what the eight positions of the square agree on, 8 times slower.
            progress: Gets what is said of scale and tiles; True prints to stderr.

        Returns:
            Label map, boxes, scores and a table of measurements. Of an image in tiles the label
            map is a memory map.

        Raises:
            UserError: If the image cannot be read or is not one, it is not clear what of it shows
                nuclei, or a number is not in its range.
        """
        threshold = self.score_threshold(score_threshold)
        asked, watcher = Scaling(diameter, pixel_size), shown(progress)
        job = Job(self.net, self.normalize, threshold, pieces, symmetries)
        cut = Cut(tile, overlap)
        with ExitStack() as stack:
            if not isinstance(image, Picture):
                image = stack.enter_context(one_picture(image, Choice(channel, z, t), watcher))
            asked = settled(self.net, self.normalize, image, asked, threshold, watcher)
            return predict_picture(job, at_scale(image, asked, self.trained, watcher), cut, watcher)

    def score_threshold(self, asked: float | None) -> float:
        """The score threshold to use: the given one, else the calibrated one.

        Raises:
            UserError: If it is not in [0, 1].
        """
        if asked is not None and not 0 <= asked <= 1:
            raise UserError(f"score_threshold={asked} is not in [0, 1]")
        return self.threshold if asked is None else asked


def load(
    model: str | Path | Model,
    *,
    options: Mapping[str, Any] | None = None,
    device: str = "auto",
    trust: Trust = (),
) -> Model:
    """Load a trained model.

    Args:
        model: A run folder, of which the checkpoint is taken that the training recommends (see
            `nucleist.training.choice`); or a checkpoint or exported file; or the name of weights
            that come with the package, `nuclei`, unless a run folder or file has that name; or a
            loaded model, which is returned, moved if a device is named.
        options: Options of the model that are to differ from the training, such as
            `{"roi.score_thresh": 0.3}`; they must not change which weights there are. Keys that
            begin with `normalize.` are options of the normalisation: `{"normalize.floor": 0}`.
        device: `auto` (a GPU where there is one), `cpu`, `cuda`, `cuda:1`, `mps`.
        trust: Package or packages of yours whose nets may be built; without it only nucleist's
            own are.

    Returns:
        The model, its net in eval mode.

    Raises:
        UserError: If the file is missing, damaged, holds code, was not written by nucleist, or
            asks for code that is not trusted; if the model has no such option, or the weights do
            not fit it any more; if options are given for a model that is loaded already.
    """
    if isinstance(model, Model):
        if options:
            raise UserError(
                f"options={dict(options)}: the model is loaded already; give them to "
                "nucleist.load, with its path"
            )
        return model if device == "auto" else model.to(device)
    path = checkpoint_of(model)
    stored = _stored(path)
    config = stored["config"]
    config = {**config, "model": {**lacking(config["model"], BEFORE), **config["model"]}}
    check_targets({part: config[part] for part in BUILT}, path, trust)
    if options:
        config = {**config, **_with_options(config, options)}
        check_targets({part: config[part] for part in BUILT}, path, trust)
    net = _built(config["model"], path, bool(options))
    load_weights(net, str(path), "", complete=True)
    net.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    threshold = stored.get("calibrated_threshold")
    trained = trained_scale(stored, config["model"])
    loaded = Model(
        *(net, build(config["normalize"]), 0.5 if threshold is None else threshold, config, path),
        trained,
    )
    return loaded.to(device)


def _with_options(config: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Model and normalisation with the options that were asked for."""
    begin = "normalize."
    own = {key.removeprefix(begin): v for key, v in options.items() if key.startswith(begin)}
    rest = {key: value for key, value in options.items() if not key.startswith(begin)}
    return {
        "model": with_options(config["model"], rest),
        "normalize": with_options(config["normalize"], own, "normalize"),
    }


def checkpoint_of(model: str | Path) -> Path:
    """The checkpoint file of a run folder or a shipped model, or the file itself.

    Args:
        model: A run folder, a checkpoint or exported file, or the name of a shipped model.

    Raises:
        UserError: If there is no such file, or no checkpoint in the folder.
    """
    path = Path(model).expanduser()
    if path.is_file():
        return path
    if not (path / "checkpoints").is_dir() and (shipped := shipped_file(str(model))):
        return shipped
    if not path.is_dir():
        raise UserError(f"{path}: no such checkpoint or run folder; {HINT}")
    found = [path / "checkpoints" / f"{name}.ckpt" for name in _preferred(path)]
    there = [checkpoint for checkpoint in found if checkpoint.is_file()]
    if not there:
        inside = sorted([*path.glob("*/checkpoints"), *path.glob("*/*/checkpoints")])
        hint = f"did you mean {inside[-1].parent}?" if inside else HINT
        raise UserError(f"{path}: no checkpoint in this folder; {hint}")
    return there[0]


def is_model_path(path: str | Path) -> bool:
    """Whether a path looks like a run folder or a file with a model: what `load` takes."""
    place = Path(path).expanduser()
    return place.suffix in MODEL_FILES or (place / "checkpoints").is_dir()


def _preferred(run: Path) -> Sequence[str]:
    """What the run recommends; before its end `best` if it was chosen apart from the test."""
    recommended = read_json_if_there(run / "summary.json").get("recommended")
    if isinstance(recommended, dict):
        return ("best", "last") if recommended.get("checkpoint") == "best" else ("last", "best")
    try:
        config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
        splits = config["data"]["splits"]
        independent = splits["val"] != splits["test"]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError):
        independent = False
    return ("best", "last") if independent else ("last", "best")


def _stored(path: Path) -> dict[str, Any]:
    """What a checkpoint holds besides the weights: `config` and `calibrated_threshold`."""
    if path.suffix == ".safetensors":
        stored: Any = read_about(path)
    else:
        content = read_file(path)
        stored = content.get("nucleist") if isinstance(content, dict) else None
    if not isinstance(stored, dict) or not set(BUILT) <= set(stored.get("config", {})):
        raise UserError(f"{path}: not a checkpoint of nucleist; {HINT}")
    return stored


def _built(model: Any, path: Path, has_options: bool) -> Net:
    try:
        net = build(model)
    except UserError as error:
        if has_options:
            raise
        raise UserError(
            f"{path}: of another version of nucleist ({error}); use that version, or train again"
        ) from error
    return check_net(net)


def check_net(net: Any) -> Net:
    """Refuse an object that is not a net.

    Raises:
        UserError: If it is not a `nucleist.Net`.
    """
    if not isinstance(net, Net):
        raise UserError(
            f"model._target_ made a {type(net).__name__}; give a subclass of nucleist.Net"
        )
    return net
