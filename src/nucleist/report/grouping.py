"""Runs that differ only in seed and fold form a group; groups on the same images are compared.

Two runs belong to one group if their configurations are equal except for the seed and for settings
that do not change the result (`settings.VOLATILE`). Names do not matter: all runs of a sweep have
the name of one experiment.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from nucleist.files import read_json_if_there
from nucleist.report.settings import (
    ANNOTATION,
    HOW_MUCH,
    Settings,
    annotation_of,
    chose_anchor,
    fold_of,
    is_binary,
    is_partial,
    model_name,
    model_title,
    replicate_in_words,
    settings,
    settings_with,
    share_of,
    source_of,
)
from nucleist.training.finished import Run, number


@dataclass(frozen=True)
class RunGroup:
    """Runs of one configuration, one for each seed and fold: a model with some labels, in a report.

    Attributes:
        key: Its anchor on the page.
        title: The experiment's name, and the settings that differ from groups of the same name.
        family: The model without the amount of annotation: one curve against the fraction.
        runs: In the order of their seeds and folds.
        brief: The title beside a column with the amount of annotation; empty if it is the same.
    """

    key: str
    title: str
    family: str
    runs: tuple[Run, ...]
    brief: str = ""

    @property
    def fraction(self) -> float | None:
        """Share of the nuclei (or of the area) that is outlined, in (0, 1].

        None where a number of nuclei was asked for, or where none was outlined.
        """
        return None if self.is_binary else share_of(self.runs[0])

    @property
    def is_binary(self) -> bool:
        """Whether the net was trained on the foreground only, without outlines of nuclei."""
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
        """A score of each run that has it, see `Run.score`."""
        found = [run.score(part, metric, average) for run in self.runs]
        return tuple(value for value in found if value is not None)


@dataclass(frozen=True)
class Benchmark:
    """Groups of runs that were trained and tested on the same images, so they can be compared.

    Attributes:
        key: Its anchor on the page, and the beginning of its files' names.
        title: The reader and its options.
        source: Name of the reader: `BBBC038`, `Kumar`.
        groups: Most labels first.
    """

    key: str
    title: str
    source: str
    groups: tuple[RunGroup, ...]

    @property
    def tested_on_validation(self) -> bool:
        """Whether validation was on the test images, as in the paper."""
        splits = [run.get("data.splits") or {} for group in self.groups for run in group.runs]
        return all(s.get("val", "test") == s.get("test", "test") for s in splits)

    def has_score(self, metric: str) -> bool:
        """Whether any run has a score, in its test or, without one, in its validation."""
        every = [run for group in self.groups for run in group.runs]
        return any(run.score(p, metric) is not None for run in every for p in run.parts)

    def full(self) -> RunGroup | None:
        """The group with all labels that others are compared with: Mask R-CNN if there is one.

        None where nuclei are left that nobody has labelled: then nothing was trained on all.
        """
        whole = [m for m in self.groups if m.fraction == 1 and not m.is_crop]
        whole = [m for m in whole if not any(map(is_partial, m.runs))]
        return min(whole, key=lambda m: (m.target != "mask_rcnn", m.title), default=None)


def group_runs(
    runs: Sequence[Run], names: Mapping[str, str] | None = None
) -> tuple[list[Benchmark], list[str]]:
    """Sort runs by their images and their configurations.

    Args:
        runs: Finished runs, the oldest first.
        names: Words to show in place of the names of experiments.

    Returns:
        Benchmarks in the order of their titles, and a line on each run that is left out because
        another one has the same configuration and seeds. The newest is kept, but a run made by
        `nucleist reproduce` never replaces the original.
    """
    sets: dict[str, dict[str, list[Run]]] = {}
    for run in sorted(runs, key=lambda run: run.is_repeat):
        groups = sets.setdefault(source_of(run), {})
        keys = list(_identities(run))
        key = next((key for key in keys if key in groups), keys[-1])
        groups.setdefault(key, []).append(run)
    notes: list[str] = []
    found = []
    kinds = [source.split(":")[0] for source in sorted(sets)]
    for i, (source, groups) in enumerate(sorted(sets.items())):
        cells = [_newest(cell, notes) for cell in groups.values()]
        key = kinds[i].lower() + (f"-{i + 1}" if kinds.count(kinds[i]) > 1 else "")
        named = _groups(key, cells, names or {})
        found.append(Benchmark(key, source, kinds[i], tuple(sorted(named, key=_order))))
    return found, notes


def _identities(run: Run) -> Iterator[str]:
    """Texts of which a run and its repeats have at least one in common.

    A manifest counts by its content, not by its path. From the command of a repeat one cannot
    see whether the size of the anchor was chosen or measured, so a repeat has both texts.
    """
    kept = read_json_if_there(run.folder / "manifest.json").get("images")
    for anchor in (True, False) if run.is_repeat else (chose_anchor(run),):
        found = settings_with(run, anchor)
        if kept is not None and found.get("data.manifest", "null") != "null":
            found["data.manifest"] = json.dumps(kept, sort_keys=True)
        yield json.dumps([run.experiment, sorted(found.items())])


def _newest(runs: Iterable[Run], notes: list[str]) -> list[Run]:
    """One run for each combination of seeds and fold: names of folders begin with the time."""
    found: dict[tuple[str, ...], Run] = {}
    for run in sorted(runs, key=lambda run: (not run.is_repeat, run.folder.name)):
        key = (*run.seeds, fold_of(run) or "")
        if key in found:
            old, which = found[key].folder, replicate_in_words(run)
            if found[key].is_repeat and not run.is_repeat:
                made = f"made by nucleist reproduce ({which})"
                why = f"{made}, the original {run.folder} is used"
            else:
                why = f"{run.folder} repeats it ({which}) and is newer"
            notes.append(f"{old}: {why}; left out")
        found[key] = run
    return [found[key] for key in sorted(found, key=lambda key: [(len(w), w) for w in key])]


def _groups(prefix: str, cells: list[list[Run]], given: Mapping[str, str]) -> Iterator[RunGroup]:
    names = [given.get(cell[0].experiment, cell[0].experiment) for cell in cells]
    labels = [model_title(c[0]) for c in cells]
    whole = [settings(cell[0]) for cell in cells]
    less = [{k: v for k, v in s.items() if k not in ANNOTATION} for s in whole]
    shown, families = distinguished(names, whole), distinguished(labels, less)
    brief, alone = _brief(names, whole, [annotation_of(cell[0]) for cell in cells], shown)
    keys = _slugs([f"{prefix} model {title}" for title in alone])
    for i, cell in enumerate(cells):
        yield RunGroup(keys[i], alone[i], families[i], tuple(cell), brief[i])


def _slugs(titles: Sequence[str]) -> list[str]:
    """Titles as names of files and anchors, numbered where they would be equal.

    Examples:
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
    """Names beside a column of labels, and names alone; the full ones if those are ambiguous."""
    less = [{k: v for k, v in s.items() if k not in HOW_MUCH} for s in every]
    short = distinguished(names, less)
    pairs = [f"{name}, {words}" for name, words in zip(short, labels, strict=True)]
    if len(set(pairs)) < len(pairs):
        return full, full
    alone = [p if short.count(n) > 1 else n for n, p in zip(short, pairs, strict=True)]
    return short, alone


def _order(group: RunGroup) -> tuple[bool, float, bool, bool, str]:
    share = group.fraction
    plain = group.target == "mask_rcnn"
    return share is None, -(share or 0.0), not group.is_crop, not plain, group.title


def distinguished(names: Sequence[str], every: Sequence[Settings]) -> list[str]:
    """Names, each with the settings in which it differs from others of the same name.

    Examples:
        >>> distinguished(["a", "a", "b"], [{"data.x": "1"}, {"data.x": "2"}, {"data.x": "3"}])
        ['a, x=1', 'a, x=2', 'b']
    """
    found = []
    for name, own in zip(names, every, strict=True):
        others = [s for n, s in zip(names, every, strict=True) if n == name]
        keys = [key for key, value in sorted(own.items()) if value != "null"]
        differ = [key for key in keys if len({s.get(key) for s in others}) > 1]
        shown = [k for k in differ if not k.endswith("_target_")] or differ
        words = [f"{_short(k, differ)}={own[k].strip(chr(34))}" for k in shown[:4]]
        found.append(", ".join([name, *words, *(["..."] if len(shown) > 4 else [])]))
    return found


def _short(key: str, keys: Sequence[str]) -> str:
    """The last word of a key, with the word before it where the last occurs twice."""
    words = key.split(".")
    alone = sum(k.split(".")[-1] == words[-1] for k in keys) == 1
    return words[-1] if alone and words[0] != "callbacks" else ".".join(words[-2:])
