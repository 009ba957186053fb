"""A run trained again from its folder, and what came out differently."""

import json
import math
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from nucleist.config.targets import Trust, check_targets, trusted
from nucleist.data import NucleiData
from nucleist.files import read_json
from nucleist.models.weights.load import read_file
from nucleist.training.run import environment, images_checksum
from nucleist.training.train import build_data, train_config
from nucleist.types import Progress, UserError

FINISHED = "give the folder of a finished run"
NOT_RESULTS = ("train_seconds", "speed")
NOT_VERSIONS = ("command", "folder", "data_root", "images")
AS_STORED = {
    "annotation_fraction": 1.0,
    "exemplars": None,
    "crop_fraction": None,
    "policy": "random",
}
"""Nothing is drawn: a manifest says which labels are kept."""


@dataclass(frozen=True)
class Reproduction:
    """What came out when a run was trained again.

    Attributes:
        run: The new run folder.
        differences: A line for each kept label or score that differs; empty if all are equal.
        remarks: Lines about versions and images that have changed, which may explain differences.
        weights: The largest difference between the last weights, in words.
        same_images: Whether the training images are those of the run, as far as is known.
    """

    run: Path
    differences: list[str]
    remarks: list[str]
    weights: str
    same_images: bool

    @property
    def is_equal(self) -> bool:
        """Whether labels, scores and images are equal."""
        return self.same_images and not self.differences


def reproduce(
    run: str | Path,
    *,
    runs: str | Path | None = None,
    tolerance: float = 0.0,
    trust: Trust = (),
    progress: bool | Progress = False,
) -> Reproduction:
    """Train again what a run folder describes, in a new folder, and compare what came out.

    The kept labels are those of the run's `manifest.json`, even if others would be drawn now, and
    on the CPU there are as many threads as then, so that with the same versions everything repeats
    exactly. Data are looked for in `NUCLEIST_DATA`, else where they were.

    Args:
        run: A finished run folder.
        runs: Folder for the new run; None for where the old one is.
        tolerance: Difference allowed in each score.
        trust: Package or packages of yours that its configuration may call.
        progress: True prints lines and a bar to stderr; or an object that shows them otherwise.

    Returns:
        The new run folder, and what differs.

    Raises:
        UserError: If the run cannot be read, is not finished, or calls what is not trusted.
    """
    folder = Path(run).expanduser().resolve()
    config = stored_config(folder, trust)
    scores = read_json(folder / "summary.json", FINISHED)
    labels = read_json(folder / "manifest.json", FINISHED)
    before = read_json(folder / "environment.json", FINISHED)
    with (
        open_dict(config),
        _readable(folder),
        as_many_threads(config, before),
        where_they_were(config, before),
    ):
        config.runs = str(runs or folder.parents[len(Path(config.name).parts)])
        config.trust = trusted(trust)
        config.run_dir = "???"
        remarks = list(version_changes(before, dict(environment())))
        same, lines = same_data(config, folder, before, labels)
        command = shlex.join(["nucleist", "reproduce", str(run)])
        again = train_config(config, None, progress, command)
    differences = list(label_changes(labels, read_json(again / "manifest.json", FINISHED)))
    results = read_json(again / "summary.json", FINISHED)
    if config.data.manifest is not None:
        results |= {key: scores.get(key) for key in AS_STORED if key in scores}
    differences += compare(scores, results, tolerance)
    return Reproduction(again, differences, [*remarks, *lines], _weights(folder, again), same)


def same_data(
    config: DictConfig, run: Path, before: Mapping[str, Any], labels: Mapping[str, Any]
) -> tuple[bool, list[str]]:
    """Set the stored labels to be kept, and compare images and labels with those of the run.

    Where the same labels would be drawn again, the configuration stays as it is.

    Returns:
        Whether the images are the same, and a line on each difference.
    """
    stored = {"manifest": str(run / "manifest.json")}
    if config.data.get("manifest") is not None:  # that file may be gone, the stored one is equal
        config.data.update(stored)
    data = build_data(config)
    drawn = list(draw_changes(labels, data))
    if drawn:
        config.data.update(AS_STORED | stored)
    differ = before.get("images") not in (None, images_checksum(data.training_records()))
    lines = []
    if differ:
        lines.append("training images: the images differ from those of the run, or their labels do")
    elif "images" not in before:
        lines.append("training images: not compared, the run has no checksum of them")
    return not differ, [*lines, *drawn]


@contextmanager
def _readable(run: Path) -> Iterator[None]:
    """One line about keys that the configuration of another version lacks, or has in excess."""
    try:
        yield
    except UserError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise UserError(
            f"{run / 'config.yaml'}: {error}; use the version in environment.json"
        ) from error
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{run / 'config.yaml'}: {reason}; use the version in environment.json"
        ) from error


@contextmanager
def as_many_threads(config: DictConfig, before: Mapping[str, Any]) -> Iterator[None]:
    """Meanwhile use as many CPU threads as the run did: sums of floats depend on the number."""
    now, threads = torch.get_num_threads(), str(before.get("threads", ""))
    on_gpu = torch.cuda.is_available() and config.trainer.get("accelerator") != "cpu"
    if threads.isdecimal() and int(threads) > 0 and not on_gpu:
        torch.set_num_threads(int(threads))
    try:
        yield
    finally:
        torch.set_num_threads(now)


@contextmanager
def where_they_were(config: DictConfig, before: Mapping[str, Any]) -> Iterator[None]:
    """Read the data from where the run read them, unless `NUCLEIST_DATA` is set.

    Records of older versions lack that folder; then nothing is changed.
    """
    folder, root = before.get("folder"), before.get("data_root")
    for node, key in ((config, "data_root"), (config.data.source, "root")):
        own = node._get_node(key) if key in node else None
        if folder and own is not None and not own._is_interpolation() and not own._is_missing():
            there = Path(folder, str(node[key]))  # it may be relative to where the run was started
            node[key] = str(there) if there.exists() else node[key]
    if root is None or "NUCLEIST_DATA" in os.environ or not Path(root).is_dir():
        yield
        return
    os.environ["NUCLEIST_DATA"] = root
    try:
        yield
    finally:
        del os.environ["NUCLEIST_DATA"]


def draw_changes(old: Mapping[str, Any], data: NucleiData) -> Iterator[str]:
    """A line if other labels would be drawn now; those of the manifest are used in their place."""
    held_out = data.train_set.held_out
    drawn = {
        record.id: (list(data.annotation.choose(record)), list(held_out[record.id]))
        for record in data.training_records()
    }
    stored = {
        name: (next(iter(entry.values())), entry.get("held_out", []))
        for name, entry in old.get("images", {}).items()
    }
    names = [name for name in stored | drawn if stored.get(name) != drawn.get(name)]
    if names:
        yield (
            f"kept labels: in {len(names)} images, {names[0]!r} for one, others would be drawn "
            "now; those of manifest.json are used"
        )


def stored_config(run: Path, trust: Trust = ()) -> DictConfig:
    """The configuration of a run, if it calls only what nucleist's own files call.

    Raises:
        UserError: If there is none, or it would run something else.
    """
    path = run / "config.yaml"
    try:
        config = OmegaConf.load(path)
    except (OSError, YAMLError, UnicodeDecodeError, OmegaConfBaseException) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a configuration"
        raise UserError(f"{path}: {reason}; give the folder of a run") from error
    if not isinstance(config, DictConfig) or not {"name", "model", "data"} <= set(config):
        raise UserError(f"{path}: not the configuration of a run; give the folder of a run")
    check_targets(OmegaConf.to_container(config), path, trust)
    return config


def version_changes(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """A line for each version that has changed: it may explain differences in the results."""
    for name in old | new:
        if name not in NOT_VERSIONS and old.get(name) != new.get(name):
            yield f"{name}: {old.get(name)} then, {new.get(name)} now"


def label_changes(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """A line if other labels were kept: the data or the drawing of labels have changed.

    What an earlier version did not write of an image is not compared.
    """
    first, second = old.get("images", {}), new.get("images", {})
    unknown = {"complete", "pixels"} - {key for entry in first.values() for key in entry}
    second = {
        name: {key: value for key, value in entry.items() if key not in unknown}
        for name, entry in second.items()
    }
    changed = [name for name in first | second if first.get(name) != second.get(name)]
    if changed:
        yield f"kept labels: different in {len(changed)} images, {changed[0]!r} for one"


def compare(old: Any, new: Any, tolerance: float = 0.0, name: str = "") -> Iterator[str]:
    """A line for each value that differs, by its path."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old | new:
            if key not in NOT_RESULTS:
                where = f"{name}/{key}" if name else key
                yield from compare(old.get(key), new.get(key), tolerance, where)
    elif isinstance(old, float | int) and isinstance(new, float | int):
        same = old == new or (math.isnan(old) and math.isnan(new))
        if not (same or abs(old - new) <= tolerance):
            yield f"{name}: {old} then, {new} now"
    elif old != new:
        yield f"{name}: {_short(old)} then, {_short(new)} now"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 60 else text[:57] + "..."


def _weights(old: Path, new: Path) -> str:
    """The largest difference between the last weights of two runs, in words."""
    parts = []
    for run in (old, new):
        path = run / "checkpoints" / "last.ckpt"
        if not path.is_file():
            return f"not compared, {path} is missing"
        parts.append(read_file(path)["state_dict"])
    first, second = parts
    if first.keys() != second.keys() or any(first[k].shape != second[k].shape for k in first):
        return "of another net"
    if all(torch.equal(first[key], second[key]) for key in first):
        return "equal"
    apart = max(float((first[k].double() - second[k].double()).abs().max()) for k in first)
    return f"up to {apart:.2g} apart"
