"""Runs that differ in their seed alone are one model; models on the same images, one data set.

Two runs belong together if their configurations are equal but for the seed and for what says
where and how often, not what (`settings.VOLATILE`). Names do not decide: a sweep gives many
settings the name of one experiment.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from nucleist.report.settings import (
    ANNOTATION,
    HOW_MUCH,
    Settings,
    annotation_of,
    chose_anchor,
    is_binary,
    model_name,
    settings,
    settings_with,
    share_of,
    source_of,
)
from nucleist.training.finished import Run, number, read_json

LABELS = {
    "mask_rcnn": "Mask R-CNN",
    "mask_rcnn_pa": "PA Mask R-CNN",
    "canonical_shape": "canonical shape",
    "deeplabv3": "DeepLabV3",
    "dist": "DIST",
}


@dataclass(frozen=True)
class Model:
    """Runs of one configuration, one a seed.

    Attributes:
        key: Names it inside the page.
        title: The experiment's name, and what tells it from others of the same name.
        family: What it is apart from how much was annotated: one curve against the fraction.
        runs: In the order of their seeds.
        brief: The title beside a column that says how much is labelled; empty if it is the same.
    """

    key: str
    title: str
    family: str
    runs: tuple[Run, ...]
    brief: str = ""

    @property
    def fraction(self) -> float | None:
        """Share of the nuclei (or of the area) that is outlined; None if that is not known.

        It is not where a number of nuclei was asked for, nor where none was outlined.
        """
        return None if self.is_binary else share_of(self.runs[0])

    @property
    def is_binary(self) -> bool:
        """Whether the net saw foreground alone, no outline of a nucleus."""
        return is_binary(self.runs[0])

    @property
    def is_crop(self) -> bool:
        """Whether a window of each image is fully labelled."""
        return self.runs[0].summary.get("crop_fraction") is not None

    @property
    def annotation(self) -> str:
        """How much is labelled, in words."""
        return annotation_of(self.runs[0])

    @property
    def nuclei(self) -> tuple[float, ...]:
        """Labelled nuclei of each run; none where no nucleus was outlined."""
        if self.is_binary:
            return ()
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
        Data sets in the order of their names, and a line on each run that repeats another one
        of the same configuration and seeds. The newest stays, but nothing that
        `nucleist reproduce` made takes the place of an original.
    """
    sets: dict[str, dict[str, list[Run]]] = {}
    for run in sorted(runs, key=lambda run: run.is_repeat):
        models = sets.setdefault(source_of(run), {})
        keys = list(_identities(run))
        key = next((key for key in keys if key in models), keys[-1])
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


def _identities(run: Run) -> Iterator[str]:
    """What a run has in common with its repeats, in words that can be compared.

    A manifest counts by what it says, not by where it lies. The command of a repeat does not
    tell whether the size of the anchor was chosen or measured, so a repeat may be of either.
    """
    kept = read_json(run.folder / "manifest.json").get("images")
    for anchor in (True, False) if run.is_repeat else (chose_anchor(run),):
        found = settings_with(run, anchor)
        if kept is not None and found.get("data.manifest", "null") != "null":
            found["data.manifest"] = json.dumps(kept, sort_keys=True)
        yield json.dumps([run.experiment, sorted(found.items())])


def _newest(runs: Iterable[Run], notes: list[str]) -> list[Run]:
    """One run of each seeds: folders begin with the time, so the last name is the newest."""
    found: dict[tuple[str, str, str], Run] = {}
    for run in sorted(runs, key=lambda run: (not run.is_repeat, run.folder.name)):
        if run.seeds in found:
            old = found[run.seeds].folder
            if found[run.seeds].is_repeat and not run.is_repeat:
                made = f"made by nucleist reproduce (seed {run.seed})"
                why = f"{made}, the original {run.folder} counts"
            else:
                why = f"{run.folder} repeats it (seed {run.seed}) and is newer"
            notes.append(f"{old}: {why}; left out")
        found[run.seeds] = run
    return sorted(found.values(), key=lambda run: [(len(seed), seed) for seed in run.seeds])


def _models(prefix: str, cells: list[list[Run]], titles: Mapping[str, str]) -> Iterator[Model]:
    names = [titles.get(cell[0].experiment, cell[0].experiment) for cell in cells]
    labels = [LABELS.get(model_name(c[0]), model_name(c[0])) for c in cells]
    whole = [settings(cell[0]) for cell in cells]
    less = [{k: v for k, v in s.items() if k not in ANNOTATION} for s in whole]
    shown, families = told_apart(names, whole), told_apart(labels, less)
    brief, alone = _brief(names, whole, [annotation_of(cell[0]) for cell in cells], shown)
    keys = _slugs([f"{prefix} model {title}" for title in alone])
    for i, cell in enumerate(cells):
        yield Model(keys[i], alone[i], families[i], tuple(cell), brief[i])


def _slugs(titles: Sequence[str]) -> list[str]:
    """Titles as names of files and anchors, numbered where they would be one.

    >>> _slugs(["kumar PA, 25 %", "kumar PA, 25%"])
    ['kumar-pa-25', 'kumar-pa-25-2']
    """
    found: list[str] = []
    for title in titles:
        stem = re.sub(r"[^a-z0-9.=]+", "-", title.lower()).strip("-")[:60]
        names = (f"{stem}-{i}" if i > 1 else stem for i in count(1))
        found.append(next(name for name in names if name not in found))
    return found


def _brief(
    names: Sequence[str], every: Sequence[Settings], labels: Sequence[str], full: Sequence[str]
) -> tuple[Sequence[str], Sequence[str]]:
    """Names beside a column of labels, and names alone; both the full ones if that is unclear."""
    less = [{k: v for k, v in s.items() if k not in HOW_MUCH} for s in every]
    short = told_apart(names, less)
    pairs = [f"{name}, {words}" for name, words in zip(short, labels, strict=True)]
    if len(set(pairs)) < len(pairs):
        return full, full
    alone = [p if short.count(n) > 1 else n for n, p in zip(short, pairs, strict=True)]
    return short, alone


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
