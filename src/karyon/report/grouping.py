"""Runs that differ in their seed alone are one model; models on the same images, one data set.

Two runs belong together if their configurations are equal but for the seed and for what says
where and how often, not what (`VOLATILE`). Names do not decide: a sweep gives many settings the
name of one experiment.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from karyon.report.collect import Run, number

Settings = dict[str, str]
"""Flat: dotted key, value as JSON."""

VOLATILE = (
    *("seed", "runs", "resume", "data_root", "name", "val_every", "attention", "logger"),
    *("checkpoint_every", "test_best", "callbacks.speed"),
    *("data.seed", "data.annotation_seed", "data.workers", "data.source.root"),
    *("data.source.kumar_root", "callbacks.progress", "callbacks.previews"),
    *("callbacks.checkpoint", "trainer.accelerator", "trainer.devices"),
    *("trainer.val_check_interval", "trainer.log_every_n_steps", "trainer.num_sanity_val_steps"),
)
MEASURED = "model.center.anchor_size"
"""The median of the labels that a seed happened to keep, unless the command sets it."""

ANNOTATION = ("data.annotation_fraction", "data.exemplars")
LABELS = {"mask_rcnn": "Mask R-CNN", "mask_rcnn_pa": "PA Mask R-CNN"}


@dataclass(frozen=True)
class Model:
    """Runs of one configuration, one a seed.

    Attributes:
        key: Names it inside the page.
        title: The experiment's name, and what tells it from others of the same name.
        family: What it is apart from how much was annotated: one curve against the fraction.
        runs: In the order of their seeds.
    """

    key: str
    title: str
    family: str
    runs: tuple[Run, ...]

    @property
    def fraction(self) -> float | None:
        """Share of the nuclei (or of the area) that is labelled; None if it is a number of them."""
        first = self.runs[0].summary
        if first.get("exemplars") is not None or self.runs[0].get("data.manifest") is not None:
            return None
        crop = number(first.get("crop_fraction"))
        return number(first.get("annotation_fraction")) if crop is None else crop

    @property
    def is_crop(self) -> bool:
        """Whether a window of each image is fully labelled."""
        return self.runs[0].summary.get("crop_fraction") is not None

    @property
    def annotation(self) -> str:
        """How much is labelled, in words."""
        exemplars = self.runs[0].summary.get("exemplars")
        if exemplars is not None:
            return f"{exemplars} an image"
        if self.fraction is None:
            return "as in a manifest"
        return f"{100 * self.fraction:g} %" + (" of the area" if self.is_crop else "")

    @property
    def nuclei(self) -> tuple[float, ...]:
        """Labelled nuclei of each run."""
        return tuple(float(number(run.summary["labelled_nuclei"]) or 0) for run in self.runs)

    @property
    def target(self) -> str:
        """Name of the function that built the net."""
        return model_name(self.runs[0])

    def scores(self, part: str, metric: str, average: str = "pooled") -> tuple[float, ...]:
        """A figure of each run that has it."""
        found = [run.score(part, metric, average) for run in self.runs]
        return tuple(value for value in found if value is not None)


@dataclass(frozen=True)
class DataSet:
    """Models that were trained and tested on the same images.

    Attributes:
        key: Names it in files and inside the page.
        title: The reader and its options.
        source: Name of the reader: `BBBC038`, `Kumar`.
        models: Most labels first.
    """

    key: str
    title: str
    source: str
    models: tuple[Model, ...]

    @property
    def tested_on_validation(self) -> bool:
        """Whether the curves are those of the test images, as in the paper."""
        splits = [run.get("data.splits") or {} for model in self.models for run in model.runs]
        return all(s.get("val", "test") == s.get("test", "test") for s in splits)

    def full(self) -> Model | None:
        """The plainest model with all labels, which the others are compared with."""
        whole = [m for m in self.models if m.fraction == 1 and not m.is_crop]
        return min(whole, key=lambda m: (m.target != "mask_rcnn", m.title), default=None)


def group(
    runs: Sequence[Run], titles: Mapping[str, str] | None = None
) -> tuple[list[DataSet], list[str]]:
    """Sort runs into data sets and models.

    Args:
        runs: Finished runs, the oldest first.
        titles: Words for the names of experiments.

    Returns:
        Data sets in the order of their names, and a line on each run that a newer one of the
        same configuration and seed replaces.
    """
    sets: dict[str, dict[str, list[Run]]] = {}
    for run in runs:
        models = sets.setdefault(source_of(run), {})
        key = json.dumps([run.experiment, sorted(settings(run).items())])
        models.setdefault(key, []).append(run)
    notes: list[str] = []
    found = []
    kinds = [source.split(":")[0] for source in sorted(sets)]
    for i, (source, models) in enumerate(sorted(sets.items())):
        cells = [_newest(cell, notes) for cell in models.values()]
        key = kinds[i].lower() + (f"-{i + 1}" if kinds.count(kinds[i]) > 1 else "")
        named = _models(key, cells, titles or {})
        found.append(DataSet(key, source, kinds[i], tuple(sorted(named, key=_order))))
    return found, notes


def _newest(runs: Iterable[Run], notes: list[str]) -> list[Run]:
    """One run a seed: folders begin with the time, so the last name is the newest."""
    by_seed: dict[str, Run] = {}
    for run in sorted(runs, key=lambda run: run.folder.name):
        if run.seed in by_seed:
            old = by_seed[run.seed].folder
            notes.append(f"{old}: {run.folder} repeats it (seed {run.seed}) and is newer; left out")
        by_seed[run.seed] = run
    return sorted(by_seed.values(), key=lambda run: (len(run.seed), run.seed))


def _models(prefix: str, cells: list[list[Run]], titles: Mapping[str, str]) -> Iterator[Model]:
    names = [titles.get(cell[0].experiment, cell[0].experiment) for cell in cells]
    labels = [LABELS.get(model_name(c[0]), model_name(c[0])) for c in cells]
    whole = [settings(cell[0]) for cell in cells]
    less = [{k: v for k, v in s.items() if k not in ANNOTATION} for s in whole]
    shown, families = told_apart(names, whole), told_apart(labels, less)
    for i, cell in enumerate(cells):
        yield Model(f"{prefix}-model-{i + 1}", shown[i], families[i], tuple(cell))


def _order(model: Model) -> tuple[bool, float, bool, bool, str]:
    share = model.fraction
    plain = model.target == "mask_rcnn"
    return share is None, -(share or 0.0), not model.is_crop, not plain, model.title


def told_apart(names: Sequence[str], every: Sequence[Settings]) -> list[str]:
    """Names, each with the settings in which it differs from others of the same name.

    >>> told_apart(["a", "a", "b"], [{"data.x": "1"}, {"data.x": "2"}, {"data.x": "3"}])
    ['a, x=1', 'a, x=2', 'b']
    """
    found = []
    for name, own in zip(names, every, strict=True):
        others = [s for n, s in zip(names, every, strict=True) if n == name]
        keys = [key for key, value in sorted(own.items()) if value != "null"]
        differ = [key for key in keys if len({s.get(key) for s in others}) > 1]
        told = [k for k in differ if not k.endswith("_target_")] or differ
        words = [f"{_short(k, differ)}={own[k].strip(chr(34))}" for k in told[:4]]
        found.append(", ".join([name, *words, *(["..."] if len(told) > 4 else [])]))
    return found


def _short(key: str, keys: Sequence[str]) -> str:
    """The last word of a key, with the one before where the last is not enough."""
    words = key.split(".")
    alone = sum(k.split(".")[-1] == words[-1] for k in keys) == 1
    return words[-1] if alone and words[0] != "callbacks" else ".".join(words[-2:])


def settings(run: Run) -> Settings:
    """What of a configuration makes a difference to the result, the seed aside."""
    chosen = "anchor_size" in str(run.environment.get("command", ""))
    volatile = VOLATILE if chosen else (*VOLATILE, MEASURED)
    flat = dict(_flat(run.config))
    return {
        key: value
        for key, value in flat.items()
        if not any(key == v or key.startswith(f"{v}.") for v in volatile)
    }


def model_name(run: Run) -> str:
    """`mask_rcnn_pa` of `karyon.models.mask_rcnn_pa`."""
    return str(run.get("model._target_", "unknown model")).rpartition(".")[2]


def source_of(run: Run) -> str:
    """The reader and its options in words, without where the files are."""
    source = run.get("data.source") or {}
    name = str(source.get("_target_", "unknown data")).rpartition(".")[2]
    hidden = ("_target_", "root", "kumar_root")
    options = [f"{k} {v}" for k, v in source.items() if k not in hidden and v is not None]
    if name == "Folder":  # any images: only where they are says which
        options.insert(0, Path(str(source.get("root", ""))).name)
    return f"{name}: {', '.join(options)}" if options else name


def _flat(node: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _flat(value, f"{prefix}{key}.")
    else:
        yield prefix[:-1], json.dumps(node, default=str)
