"""One LightningDataModule for every data set: partial labels in training, all in evaluation."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from nucleist.data.annotation import Annotation
from nucleist.data.caches import Prepared
from nucleist.data.complete import mask_of
from nucleist.data.formats.manifest import Entry, write_manifest
from nucleist.data.held_out import checked_validation
from nucleist.data.loading import free_workers, not_shared, pixel_hash
from nucleist.data.mixed import mixed
from nucleist.data.readers.fewer import fewer
from nucleist.data.readers.folds import regroup
from nucleist.data.sets import Draws, PartialSet, Whole, WholeSet, collate
from nucleist.data.targets import to_target
from nucleist.data.transforms import Augment, check_hidden
from nucleist.ops.normalize import Normalize
from nucleist.types import Record, Source, Target, UserError


class NucleiData(pl.LightningDataModule):
    """A data set, the share of it that is annotated, and how a training sees it.

    Args:
        source: Where images come from.
        normalize: From `nucleist.ops.normalize`.
        augment: From `nucleist.data.transforms`.
        annotation_fraction: Share of the nuclei kept in each training image, in (0, 1].
        exemplars: Or: nuclei kept in each training image.
        crop_fraction: Or: share of the area kept as one fully labelled window.
        manifest: Or: a `manifest.json` of an earlier run, to keep exactly its labels.
        train_images: Or so many training images, see `nucleist.data.readers.fewer`; None for all.
        policy: Which nuclei are kept first, see `nucleist.data.policies`.
        annotation_seed: Seed of the kept labels.
        seed: Seed of order and augmentation.
        batch_size: Images of an optimiser step, over all processes and accumulated parts.
        steps: Training steps.
        pasted: At most so many labelled nuclei are pasted into a training image.
        workers: Loader processes; 0 loads in the training process, None chooses: several where
            a GPU waits for them and cores are free, else 0.
        cache: Folder in which the data set is converted once, see `nucleist.data.caches.Prepared`;
            None reads the published files in every run.
        supervision: What a net learns from: `"instances"` (`Target`) or `"binary"`
            (`BinaryTarget`: foreground and count alone).
        splits: Which of the source's splits to train, validate and test on.
        validation: What a training is validated on: `"images"` of the split `splits["val"]`, or
            `"nuclei"` of the training images that are labelled and kept from the training; None
            takes images where there are any, else nuclei.
        held_out: Share of the kept nuclei that are kept from the training then, in (0, 1); None for
            none, and no validation.
        folds: Split all labelled images by group into so many folds, see
            `nucleist.data.readers.folds.ByGroup`, like the next three; None keeps the source's.
        fold: Which fold tests, from 0; the next one validates.
        fractions: Or: shares of `train`, `val` and `test`.
        fold_seed: Of that choice.
        split_by: What folds and fractions do not cut: `"group"`, or only each `"image"`.
        synthetic: Synthetic images shown for each real one in training, 0 for none.
        synthetic_images: Draws them, see `nucleist.data.mixed`.
        balance: 1 shows all training images equally often, 0 all kinds of them, see `PartialSet`.
    """

    def __init__(
        self,
        source: Source,
        normalize: Normalize,
        augment: Augment,
        annotation_fraction: float = 1.0,
        exemplars: int | None = None,
        crop_fraction: float | None = None,
        manifest: str | None = None,
        annotation_seed: int = 0,
        seed: int = 0,
        batch_size: int = 4,
        steps: int = 300,
        pasted: int = 0,
        workers: int | None = 0,
        splits: dict[str, str] | None = None,
        cache: str | None = None,
        supervision: str = "instances",
        validation: str | None = None,
        held_out: float | None = 0.2,
        folds: int | None = None,
        fold: int = 0,
        fractions: dict[str, float] | None = None,
        fold_seed: int = 0,
        split_by: str = "group",
        train_images: int | None = None,
        policy: str = "random",
        synthetic: float = 0.0,
        synthetic_images: Source | None = None,
        balance: float = 1.0,
    ):
        super().__init__()
        check_hidden(supervision, augment, pasted)
        source = source if cache is None else Prepared(source, cache)
        self.normalize = normalize
        kept = annotation_fraction, exemplars, crop_fraction, annotation_seed, manifest, policy
        if batch_size < 1:
            raise UserError(
                f"data.batch_size={batch_size} is not a number of images; give 1 or more"
            )
        self.batch_size, self.steps = batch_size, steps
        self.workers = free_workers() if workers is None else workers
        self.splits = {"train": "train", "val": "test", "test": "test", **(splits or {})}
        source = regroup(source, folds, fold, fractions, fold_seed, split_by)
        self.source = fewer(source, train_images, self.splits["train"], annotation_seed)
        train = self.ids("train")
        self.annotation = Annotation(*kept).among(map(self.source.read, train))
        self.annotation.check_images(train)
        self.validation = checked_validation(validation, supervision, bool(self.ids("val")))
        self.train_set = PartialSet(
            *(self.source, train, self.annotation, normalize, augment, seed, pasted, supervision),
            held_out=held_out if self.validation == "nuclei" else None,
            mixed=mixed(synthetic_images, synthetic, cache),
            balance=balance,
        )
        self._labelled: int | None = None
        self._whole: dict[str, Whole] = {}

    @property
    def validates_apart(self) -> bool:
        """Whether what a training is validated on is not what it is tested on."""
        if self.validation == "nuclei":
            return self.holds_out
        return bool(self.ids("val")) and self.splits["val"] != self.splits["test"]

    @property
    def holds_out(self) -> bool:
        """Whether some labelled nuclei are kept from the training."""
        return bool(self.train_set.validated)

    def held_out_nuclei(self) -> int:
        """Number of labelled nuclei that are kept from the training."""
        return sum(map(len, self.train_set.held_out.values()))

    def ids(self, use: str) -> list[str]:
        """Image ids of `train`, `val` or `test`, as `splits` maps them to the source's splits.

        Returns:
            None for `val` and `test`, if the data set has no images for it.

        Raises:
            UserError: If there is no training image, or no split of that name.
        """
        available = self.source.splits()
        name = self.splits[use]
        if available.get(name) or (use != "train" and name in ("val", "test")):
            return available.get(name) or []
        found = ", ".join(f"{key} ({len(ids)})" for key, ids in available.items())
        raise UserError(
            f"the data set has no image in split {name!r}, it has {found}; "
            f"set data.splits.{use} to one of them"
        )

    def whole(self, image_id: str) -> Whole:
        """Normalised image and all labels, kept in memory."""
        if image_id not in self._whole:
            record = self.source.read(image_id)
            partly = record.complete is not True
            area = mask_of(record.complete, record.labels.shape) if partly else None
            self._whole[image_id] = Whole(self.normalize(record.image), record.labels, area)
        return self._whole[image_id]

    def preload(self, rank: int = 0, world: int = 1) -> None:
        """Read this process's share of the images of evaluation, so that none fails later.

        Raises:
            UserError: If one is damaged, or a split is missing.
        """
        for use in ("val", "test"):
            for image_id in self.ids(use)[rank::world]:
                self.whole(image_id)

    def record(self, image_id: str) -> Record:
        """The record as the source reads it, for pictures."""
        return self.source.read(image_id)

    def training_records(self) -> Iterator[Record]:
        """The training images with all their labels, one at a time."""
        return (self.record(image_id) for image_id in self.train_set.ids)

    def median_box_size(self, min_size: int | None = None, scale: float = 1.0) -> list[float]:
        """Median width and height of the kept training boxes, in pixels of the net's input.

        Args:
            min_size: Short side that the net resizes images to; None if it does not.
            scale: Factor by which the net enlarges images without `min_size`.

        Raises:
            UserError: If no nucleus is labelled at all.
        """
        sizes = []
        for target in self.kept_targets():
            boxes, shape = target["boxes"], target["label_map"].shape
            factor = scale if min_size is None else min_size / min(shape)
            sizes.append((boxes[:, 2:] - boxes[:, :2]) * factor)
        self.labelled_nuclei()  # raises if there is none
        return [float(side) for side in torch.cat(sizes).median(0).values]

    def labelled_records(self) -> Iterator[Record]:
        """The training images with a labelled nucleus, with all their labels, one at a time."""
        return (r for r in self.training_records() if self.annotation.visible(r).any())

    def set_normalize(self, normalize: Normalize) -> None:
        """Normalise by something else from now on."""
        self.normalize = self.train_set.normalize = normalize
        self._whole.clear()
        self.train_set.forget()

    def labelled_nuclei(self) -> int:
        """Number of labelled nuclei in the training images.

        Raises:
            UserError: If there is none.
        """
        if self._labelled is None:
            self._labelled = sum(len(target["boxes"]) for target in self.kept_targets())
        if self._labelled == 0:
            raise UserError(
                "no nucleus is labelled in the training images; label some, or check the data set"
            )
        return self._labelled

    def kept_targets(self) -> Iterator[Target]:
        """Targets of the whole training images with the kept labels."""
        return (to_target(self.train_set.partial(i)[1]) for i in self.train_set.ids)

    def write_manifest(self, path: Path) -> int:
        """Write which labels were kept; returns the number of nuclei that training sees."""
        entries = {i: self._entry(self.record(i)) for i in self.train_set.ids}
        write_manifest(path, entries, self.annotation.settings())
        return self.labelled_nuclei()

    def _entry(self, record: Record) -> Entry:
        held, kept = tuple(self.train_set.held_out[record.id]), self.annotation
        return Entry(kept.choose(record), held, kept.complete(record), pixel_hash(record))

    def train_dataloader(self) -> DataLoader[Any]:
        """Draws from the current step on: this process's share of each batch, in its parts."""
        rank, world, parts, done = 0, 1, 1, 0
        if self.trainer is not None:
            rank, world = self.trainer.global_rank, self.trainer.world_size
            parts, done = self.trainer.accumulate_grad_batches, self.trainer.global_step
        size, rest = divmod(self.batch_size, world * parts)
        if rest:
            raise UserError(not_shared(self.batch_size, world, parts))
        draws = Draws(self.steps * self.batch_size, done * self.batch_size, rank, world)
        return self._loader(self.train_set, batch_size=size, sampler=draws)

    def val_dataloader(self) -> DataLoader[Any]:
        """All labels of the validation split, or the held-out nuclei of the training images."""
        if self.validation == "images":
            return self._evaluation(self.ids("val"), self.whole)
        return self._evaluation(self.train_set.validated, self.train_set.hidden)

    def test_dataloader(self) -> DataLoader[Any]:
        """All labels of the test split."""
        return self._evaluation(self.ids("test"), self.whole)

    def kept_dataloader(self) -> DataLoader[Any]:
        """Training images, not augmented, with what calibration looks at.

        The labels are the held-out nuclei, or without any those that training saw.
        """
        if self.holds_out:
            return self._loader(WholeSet(self.train_set.validated, self.train_set.hidden))
        return self._loader(WholeSet(self.train_set.ids, self._seen))

    def _seen(self, image_id: str) -> Whole:
        return Whole(*self.train_set.partial(image_id), None)

    def _evaluation(self, ids: list[str], read: Callable[[str], Whole]) -> DataLoader[Any]:
        own = ids
        if self.trainer is not None:  # no image twice, unlike DistributedSampler
            own = ids[self.trainer.global_rank :: self.trainer.world_size]
        # Processes add up their scores, so one without an image still takes part, with none.
        empty: dict[str, Any] = {"batch_sampler": [[]]} if ids and not own else {}
        return self._loader(WholeSet(own, read), **empty)

    def _loader(self, data: Dataset[Any], **batches: Any) -> DataLoader[Any]:
        return DataLoader(
            data,
            **batches,
            collate_fn=collate,
            num_workers=self.workers,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=False,
            # Its own, or each loader takes a number from the net's random numbers, and how often
            # a training validates would decide what it samples.
            generator=torch.Generator().manual_seed(0),
        )
