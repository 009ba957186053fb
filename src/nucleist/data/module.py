"""One LightningDataModule for every data set: partial labels in training, all in evaluation."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from nucleist.data.annotation import Annotation
from nucleist.data.caches import Prepared
from nucleist.data.formats.manifest import write_manifest
from nucleist.data.sets import Draws, Normalize, PartialSet, WholeSet, collate
from nucleist.data.targets import to_target
from nucleist.data.transforms import Augment, check_hidden
from nucleist.types import Record, Source, Target, UserError


def free_workers() -> int:
    """Loader processes that help: up to 4 a GPU, one core of each GPU being left to training.

    Without a GPU the cores are busy with the net, and two cores gained nothing from loaders.
    """
    devices = torch.cuda.device_count()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(4, max((cores or 1) // devices - 1, 0)) if devices else 0


def _not_shared(batch_size: int, world: int, parts: int) -> str:
    """Message about a batch size that the processes cannot share."""
    pieces = f"{world} processes" + (f" with accumulate={parts}" if parts > 1 else "")
    fits = ", ".join(str(n) for n in range(1, batch_size + 1) if batch_size % n == 0)
    return (
        f"data.batch_size={batch_size} cannot be shared by {pieces}; use a multiple of "
        f"{world * parts}, or processes times accumulate equal to {fits}"
    )


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
    ):
        super().__init__()
        check_hidden(supervision, augment, pasted)
        self.source = source if cache is None else Prepared(source, cache)
        self.normalize = normalize
        self.annotation = Annotation(
            annotation_fraction, exemplars, crop_fraction, annotation_seed, manifest
        )
        if batch_size < 1:
            raise UserError(
                f"data.batch_size={batch_size} is not a number of images; give 1 or more"
            )
        self.batch_size, self.steps = batch_size, steps
        self.workers = free_workers() if workers is None else workers
        self.splits = {"train": "train", "val": "test", "test": "test", **(splits or {})}
        train = self.ids("train")
        self.annotation.check_images(train)
        self.train_set = PartialSet(
            self.source, train, self.annotation, normalize, augment, seed, pasted, supervision
        )
        self._labelled: int | None = None
        self._whole: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def ids(self, use: str) -> list[str]:
        """Image ids of `train`, `val` or `test`, as `splits` maps them to the source's splits."""
        available = self.source.splits()
        name = self.splits[use]
        if available.get(name):
            return available[name]
        found = ", ".join(f"{key} ({len(ids)})" for key, ids in available.items())
        raise UserError(
            f"the data set has no image in split {name!r}, it has {found}; "
            f"set data.splits.{use} to one of them"
        )

    def whole(self, image_id: str) -> tuple[np.ndarray, np.ndarray]:
        """Normalised image and all labels, kept in memory."""
        if image_id not in self._whole:
            record = self.source.read(image_id)
            self._whole[image_id] = self.normalize(record.image), record.labels
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

    def median_box_size(self, min_size: int | None = None) -> list[float]:
        """Median width and height of the kept training boxes, in pixels of the net's input.

        Args:
            min_size: Short side that the net resizes images to; None if it does not.

        Raises:
            UserError: If no nucleus is labelled at all.
        """
        sizes = []
        for target in self.kept_targets():
            boxes, shape = target["boxes"], target["label_map"].shape
            scale = 1.0 if min_size is None else min_size / min(shape)
            sizes.append((boxes[:, 2:] - boxes[:, :2]) * scale)
        every = torch.cat(sizes)
        if len(every) == 0:
            self.labelled_nuclei()  # raises
        return [float(side) for side in every.median(0).values]

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
        """Write which labels were kept; returns the number of labelled nuclei."""
        choices = {i: self.annotation.choose(self.record(i)) for i in self.train_set.ids}
        write_manifest(path, choices, self.annotation.settings())
        return self.labelled_nuclei()

    def train_dataloader(self) -> DataLoader[Any]:
        """Draws from the current step on: this process's share of each batch, in its parts."""
        rank, world, parts, done = 0, 1, 1, 0
        if self.trainer is not None:
            rank, world = self.trainer.global_rank, self.trainer.world_size
            parts, done = self.trainer.accumulate_grad_batches, self.trainer.global_step
        size, rest = divmod(self.batch_size, world * parts)
        if rest:
            raise UserError(_not_shared(self.batch_size, world, parts))
        draws = Draws(self.steps * self.batch_size, done * self.batch_size, rank, world)
        return self._loader(self.train_set, size, draws)

    def val_dataloader(self) -> DataLoader[Any]:
        """All labels of the validation split."""
        return self._evaluation("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """All labels of the test split."""
        return self._evaluation("test")

    def kept_dataloader(self) -> DataLoader[Any]:
        """Training images, not augmented, with the kept labels: for calibration."""
        return self._loader(WholeSet(self.train_set.ids, self.train_set.partial), 1, None)

    def _evaluation(self, use: str) -> DataLoader[Any]:
        ids = self.ids(use)
        if self.trainer is not None:  # no image twice, unlike DistributedSampler
            ids = ids[self.trainer.global_rank :: self.trainer.world_size]
        return self._loader(WholeSet(ids, self.whole), 1, None)

    def _loader(self, data: Dataset[Any], size: int, sampler: Sampler[int] | None) -> Any:
        return DataLoader(
            data,
            batch_size=size,
            sampler=sampler,
            collate_fn=collate,
            num_workers=self.workers,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=False,
            # Its own, or each loader takes a number from the net's random numbers, and how often
            # a training validates would decide what it samples.
            generator=torch.Generator().manual_seed(0),
        )
