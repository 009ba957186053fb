"""`nucleist reproduce`: do a run again from its folder, and say what came out differently."""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from nucleist.cli.parser import Parser
from nucleist.data import NucleiData
from nucleist.models.weights.load import read_file
from nucleist.training.run import environment, images_checksum
from nucleist.training.train import build_data, train
from nucleist.types import UserError

NOT_RESULTS = ("train_seconds", "speed")
NOT_VERSIONS = ("command", "folder", "data_root", "images")
AS_STORED = {"annotation_fraction": 1.0, "exemplars": None, "crop_fraction": None}
"""Nothing is drawn: a manifest says which labels are kept."""


def main(arguments: Sequence[str]) -> int:
    """Entry point of the verb; returns 1 if the results differ."""
    parser = Parser(
        "nucleist reproduce",
        description="Train again what a run folder describes, in a new folder beside it, and "
        "compare kept labels, weights and every score.",
        epilog="The labels are those of the run's manifest.json, whatever would be drawn now, and "
        "on the CPU there are as many threads as then, so that with the same versions everything "
        "repeats exactly. Data are looked for in NUCLEIST_DATA, else where they were. "
        "Exit status: 0 all equal (within the tolerance), 1 not, 2 the run is unusable.",
    )
    parser.add_argument("run", type=Path, help="a finished run folder")
    parser.add_argument("--runs", help="where the new run goes (default: where the old one is)")
    parser.add_argument(
        "--tolerance", type=float, default=0.0, help="difference allowed in each score (default 0)"
    )
    options = parser.parse_args(arguments)
    run: Path = options.run.resolve()
    config = stored_config(run)
    scores, labels = _json(run / "summary.json"), _json(run / "manifest.json")
    before = _json(run / "environment.json")
    with (
        open_dict(config),
        _readable(run),
        as_many_threads(config, before),
        where_they_were(config, before),
    ):
        config.runs = options.runs or str(run.parents[len(Path(config.name).parts)])
        for line in version_changes(before, dict(environment())):
            print(line)
        other = same_data(config, run, before, labels)
        again = train(config)
    differences = list(label_changes(labels, _json(again / "manifest.json")))
    results = _json(again / "summary.json")
    if config.data.manifest is not None:
        results |= {key: scores.get(key) for key in AS_STORED}
    differences += compare(scores, results, options.tolerance)
    print("\n".join(differences) or "kept labels and scores are equal")
    print(f"weights: {_weights(run, again)}")
    print(again)
    return 1 if differences or other else 0


def same_data(
    config: DictConfig, run: Path, before: Mapping[str, Any], labels: Mapping[str, Any]
) -> bool:
    """Have the stored labels kept, and say which images or labels are others now.

    Where the same labels would be drawn again, the configuration stays as it is.

    Returns:
        Whether the images differ.
    """
    stored = {"manifest": str(run / "manifest.json")}
    if config.data.get("manifest") is not None:  # that file may be gone, this one says the same
        config.data.update(stored)
    data = build_data(config)
    drawn = list(draw_changes(labels, data))
    if drawn:
        config.data.update(AS_STORED | stored)
    differ = before.get("images") not in (None, images_checksum(data.training_records()))
    if differ:
        print("training images: the images differ from those of the run, or their labels do")
    elif "images" not in before:
        print("training images: not compared, the run has no checksum of them")
    print("".join(f"{line}\n" for line in drawn), end="")
    return differ


@contextmanager
def _readable(run: Path) -> Iterator[None]:
    """One line for what the configuration of another version lacks, or has too much."""
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
    """On the CPU, have as many threads meanwhile as the run had: sums of floats depend on it."""
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
    """Look for the data where the run found them, unless `NUCLEIST_DATA` says where they are.

    A record of an older version does not say where that was; nothing is changed then.
    """
    folder, root = before.get("folder"), before.get("data_root")
    for node in (config, config.data.source):  # what was given relative to the folder of then
        key = "data_root" if node is config else "root"
        own = node._get_node(key) if key in node else None
        if folder and own is not None and not own._is_interpolation() and not own._is_missing():
            there = Path(folder, str(node[key]))
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
    """A line if other labels would be kept now; those of the manifest are used then."""
    drawn = {record.id: list(data.annotation.choose(record)) for record in data.training_records()}
    stored = {name: next(iter(entry.values())) for name, entry in old.get("images", {}).items()}
    names = [name for name in stored | drawn if stored.get(name) != drawn.get(name)]
    if names:
        yield (
            f"kept labels: in {len(names)} images, {names[0]!r} for one, others would be drawn "
            "now; those of manifest.json are used"
        )


def stored_config(run: Path) -> DictConfig:
    """The configuration of a run, if it calls nothing but what nucleist's own files call.

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
    known = set(targets_of_package())
    for target in _targets(OmegaConf.to_container(config)):
        if target not in known:
            raise UserError(
                f"{path}: calls {target!r}, which no configuration of nucleist does; if you trust "
                "it, start it with the command in environment.json"
            )
    return config


def targets_of_package() -> Iterator[str]:
    """Everything that nucleist's configuration files call."""
    for path in Path(str(files("nucleist.conf"))).rglob("*.yaml"):
        yield from _targets(OmegaConf.to_container(OmegaConf.load(path)))


def _targets(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield str(node["_target_"])
        for value in node.values():
            yield from _targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from _targets(value)


def version_changes(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """A line for each version that has changed; they explain differences, and are none."""
    for name in old | new:
        if name not in NOT_VERSIONS and old.get(name) != new.get(name):
            yield f"{name}: {old.get(name)} then, {new.get(name)} now"


def label_changes(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """A line if other labels were kept: the data have changed, or the way they are chosen."""
    first, second = old.get("images", {}), new.get("images", {})
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
    """How far the last weights are apart, in words."""
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


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; give the folder of a finished run") from error
    except ValueError as error:
        raise UserError(f"{path}: not JSON; give the folder of a finished run") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a record of a run; give the folder of a finished run")
    return content
