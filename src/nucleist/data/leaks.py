"""What training images show of the images that are tested: tiles of one field, the same image.

A model that is tested on what it was trained on looks better than it is. Nothing is moved here;
`data.folds` and `data.fractions` split by groups.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from nucleist.data.borders import Look, look_at
from nucleist.data.fields import Pair, fields_of, find_pairs
from nucleist.types import Record, Source

SHOWN = 5
"""Pairs that are named one by one."""

FEW = 300
"""Images that a training looks at; of more, `nucleist data check` does."""

TRAIN, UNLABELLED = "train", "unlabelled"

_SIDES = {"below": ("bottom", "top"), "right": ("right", "left")}


class Seen(NamedTuple):
    """What is kept of an image that was read.

    Attributes:
        look: What of it is compared.
        edges: The labels at its borders `top`, `bottom`, `left` and `right`.
        nuclei: Their number in the whole image.
    """

    look: Look
    edges: Mapping[str, np.ndarray]
    nuclei: int


def seen(record: Record) -> Seen:
    """What is kept of an image."""
    labels = record.labels
    edges = {"top": labels[0], "bottom": labels[-1], "left": labels[:, 0], "right": labels[:, -1]}
    copies = {side: line.copy() for side, line in edges.items()}
    return Seen(look_at(record.image), copies, len(np.unique(labels[labels > 0])))


class Touched(NamedTuple):
    """How much of a split the training images show, in images and in nuclei.

    Attributes:
        images: Those that continue in a training image or show the same as one.
        of_images: All images of the split.
        nuclei: Those that continue in a nucleus of a training image, or that lie in an image that
            shows the same as one.
        of_nuclei: All nuclei of the split.
    """

    images: int
    of_images: int
    nuclei: int
    of_nuclei: int


@dataclass(frozen=True)
class Leaks:
    """What was found out about fields, groups and splits.

    Attributes:
        images: Number of images that were compared.
        pairs: Images of one field or of the same content, whatever their splits.
        across: Those of them that lie in two splits, the best proven first.
        touched: By split, for those that a training image touches.
        cut: Groups that lie in several splits: the number of images in each.
        groups: Number of groups with several images.
    """

    images: int = 0
    pairs: Sequence[Pair] = ()
    across: Sequence[Pair] = ()
    touched: Mapping[str, Touched] = field(default_factory=dict)
    cut: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    groups: int = 0

    def summary(self) -> list[str]:
        """Lines for people; empty if nothing was found."""
        lines = []
        if some := fields_of(self.pairs):
            lines.append(
                f"fields: {sum(map(len, some))} of {self.images} images adjoin or repeat others, "
                f"in {len(some)} fields; {len(self.across)} of {len(self.pairs)} pairs of images "
                "are cut by a split"
            )
        for split, (images, of_images, nuclei, of_nuclei) in self.touched.items():
            lines.append(
                f"{split}: {images} of {of_images} images adjoin or repeat a training image, "
                f"{nuclei} of {of_nuclei} nuclei ({nuclei / max(of_nuclei, 1):.0%}) continue there"
            )
        if self.cut:
            name, parts = next(iter(self.cut.items()))
            shares = ", ".join(f"{split} {count}" for split, count in parts.items())
            lines.append(
                f"groups: {len(self.cut)} of {self.groups} with several images are cut by a split, "
                f"such as {name} ({shares})"
            )
        elif self.groups:
            lines.append(f"groups: {self.groups} with several images, none is cut by a split")
        return [*lines, REMEDY] if self.across or self.cut else lines


REMEDY = (
    "to cut none, add data.folds=5, or data.fractions={train:0.6,val:0.2,test:0.2}; for your own "
    "images say what belongs together (data.source.groups=found, a pattern, or groups.csv)"
)


def look_for_leaks(source: Source, images: Mapping[str, Seen]) -> Leaks:
    """Find the images that belong together and lie in different splits.

    Args:
        source: The data set.
        images: What `seen` gives, by image id.
    """
    split_of = _splits(source)
    labelled = {name: one for name, one in images.items() if name in split_of}
    pairs = find_pairs({name: one.look for name, one in labelled.items()})
    across = [pair for pair in pairs if split_of[pair.first] != split_of[pair.second]]
    groups = _several(source, split_of)
    return Leaks(
        len(labelled),
        pairs,
        sorted(across, key=lambda pair: -pair.evidence),
        _touched(labelled, split_of, across),
        {name: parts for name, parts in groups.items() if len(parts) > 1},
        len(groups),
    )


def told(pair: Pair, split_of: Mapping[str, str]) -> str:
    """A pair of two splits as one line: the image that is tested first."""
    one, other = pair.second, pair.first
    turned = split_of[one] == TRAIN
    if turned:
        one, other = other, one
    first, second = f"{split_of[one]}/{one}", f"{split_of[other]}/{other}"
    if pair.kind == "copy":
        return f"{first}: has the same pixels as {second}; keep both in one split"
    if pair.kind == "alike":
        what = f"shows nearly the same as {second} (correlation {pair.correlation:.2f})"
        return f"{first}: {what}; keep both in one split"
    words = {"below": ("upper", "lower"), "right": ("left", "right")}[pair.kind]
    what = f"continues {second} at its {words[turned]} border"
    return f"{first}: {what} (correlation {pair.correlation:.2f}); keep both in one split"


def warnings_of(source: Source, leaks: Leaks) -> list[str]:
    """The pairs of two splits, a few of each kind, and how many more there are."""
    split_of = _splits(source)
    lines = []
    for kinds in (("copy", "alike"), ("below", "right")):
        pairs = [pair for pair in leaks.across if pair.kind in kinds]
        lines += [told(pair, split_of) for pair in pairs[:SHOWN]]
        if len(pairs) > SHOWN:
            what = "adjoin" if "below" in kinds else "look the same"
            lines.append(f"and {len(pairs) - SHOWN} more pairs of images of two splits that {what}")
    return lines


def told_in_training(source: Source, uses: Mapping[str, Sequence[str]]) -> tuple[bool, str]:
    """One line if the images that a training learns from show what is tested or validated.

    Where groups are known they decide; else up to 300 images are looked at.

    Args:
        source: The data set.
        uses: Images that are for `train`, `val` and `test`.

    Returns:
        Whether it is a warning, and the line; empty if there is nothing to say.
    """
    train = set(uses["train"])
    others = [i for i in dict.fromkeys([*uses["test"], *uses["val"]]) if i not in train]
    if source.grouped:
        group = source.groups()
        some = {group[image_id]: image_id for image_id in uses["train"]}
        found = {i: some[group[i]] for i in others if group[i] in some}
        what = "are in a group (field, patient) with"
    elif len(train) + len(others) > FEW:
        line = "whether images of two splits were cut from one field is not looked at here"
        return False, f"{len(train) + len(others)} images: {line}; nucleist data check does"
    else:
        looks = {name: look_at(source.read(name).image) for name in [*sorted(train), *others]}
        found = _partners(find_pairs(looks), train)
        what = "adjoin or repeat"
    parts = []
    for use, word in (("test", "test"), ("val", "validation")):
        hit = [i for i in uses[use] if i in found]
        if hit and not (use == "val" and uses["val"] == uses["test"]):
            parts.append(f"{len(hit)} of {len(uses[use])} {word} images")
    if not parts:
        return False, ""
    one = next(iter(found))
    return True, (
        f"{' and '.join(parts)} {what} training images ({one} and {found[one]}): their scores will "
        "be too good; nucleist data check says more, data.folds=5 splits by group"
    )


def _splits(source: Source) -> dict[str, str]:
    """Split of each labelled image; of one that is in several, the first."""
    found: dict[str, str] = {}
    for split, ids in source.splits().items():
        if split != UNLABELLED:
            for image_id in ids:
                found.setdefault(image_id, split)
    return found


def _several(source: Source, split_of: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """The groups with several labelled images: the number of images in each split."""
    counts: dict[str, dict[str, int]] = {}
    groups = source.groups()
    for image_id, split in split_of.items():
        parts = counts.setdefault(groups[image_id], {})
        parts[split] = parts.get(split, 0) + 1
    return {name: parts for name, parts in sorted(counts.items()) if sum(parts.values()) > 1}


def _partners(pairs: Iterable[Pair], train: set[str]) -> dict[str, str]:
    """A training image for each other image that is paired with one."""
    found = {}
    for pair in pairs:
        for one, other in ((pair.first, pair.second), (pair.second, pair.first)):
            if other in train and one not in train:
                found[one] = other
    return found


def _touched(
    images: Mapping[str, Seen], split_of: Mapping[str, str], pairs: Sequence[Pair]
) -> dict[str, Touched]:
    """What the training images show of each other split."""
    nuclei: dict[str, set[int]] = {}
    whole: set[str] = set()
    for pair in pairs:
        for one, other in ((pair.first, pair.second), (pair.second, pair.first)):
            if split_of[other] != TRAIN:
                continue
            touching = nuclei.setdefault(one, set())
            if pair.kind in _SIDES:
                sides = _SIDES[pair.kind] if one == pair.first else _SIDES[pair.kind][::-1]
                touching |= _continued(images[one].edges[sides[0]], images[other].edges[sides[1]])
            else:
                whole.add(one)
    found = {}
    for split in dict.fromkeys(split_of.values()):
        ids = [i for i in images if split_of[i] == split and split != TRAIN]
        hit = [i for i in ids if i in nuclei]
        count = sum(images[i].nuclei if i in whole else len(nuclei[i]) for i in hit)
        if hit:
            found[split] = Touched(len(hit), len(ids), count, sum(images[i].nuclei for i in ids))
    return found


def _continued(here: np.ndarray, there: np.ndarray) -> set[int]:
    """Nuclei of a border that face a nucleus on the other side of the cut."""
    return set(np.unique(here[(here > 0) & (there > 0)]).tolist())
