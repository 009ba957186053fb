"""What is measured: sizes, numbers of nuclei, runs; and the synthetic images."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nucleist.data.readers.synthetic import Synthetic
from nucleist.data.targets import to_target, to_tensor
from nucleist.ops.normalize import Percentile
from nucleist.types import Target

PARTS = ("bookkeeping", "training", "inference", "metrics", "loading")
ROOM = 600
"""Minimum area of the image for each nucleus, px; with less they do not fit side by side."""
RADIUS = (7.0, 9.0)
SIDE = 17.0
"""Median side of their boxes, pixels."""
LARGE = 600_000_000
"""Nuclei x height x width from which on torchvision needs 10 to 20 GB."""


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        sizes: Sides of the square images, pixels, ascending.
        nuclei: Numbers of nuclei in an image, ascending.
        runs: Maximum number of timed runs of a case.
        parts: Some of `PARTS`.
        preset: Preset of nucleist's nets.
        device: `cpu` or `cuda`.
        large: Whether torchvision runs on images of `LARGE` mask pixels and more too.
        baseline: Run folder or checkpoint of a trained baseline; None for planted proposals.
        pa: Run folder or checkpoint of a trained partial-annotation net; None likewise.
        folder: Temporary folder for the images.
    """

    sizes: tuple[int, ...]
    nuclei: tuple[int, ...]
    runs: int
    parts: tuple[str, ...]
    preset: str
    device: str
    large: bool
    baseline: Path | None
    pa: Path | None
    folder: Path

    @property
    def cells(self) -> list[tuple[int, int]]:
        """Pairs of size and number of nuclei that fit."""
        return [(s, n) for s in self.sizes for n in self.nuclei if n * ROOM <= s * s]

    @property
    def left_out(self) -> list[tuple[int, int]]:
        """Pairs that do not fit."""
        return [(s, n) for s in self.sizes for n in self.nuclei if n * ROOM > s * s]

    def batch(self, size: int) -> int:
        """Images of a training step."""
        return 1 if size >= 1000 else 2

    def too_large(self, size: int, nuclei: int) -> bool:
        """Whether torchvision is left out for this size and number of nuclei."""
        return not self.large and nuclei * size * size >= LARGE

    def drawn(self, size: int, nuclei: int, index: int = 0) -> Path:
        """File of a synthetic image, made on the first call."""
        path = self.folder / f"{size}_{nuclei}_{index}.npz"
        if not path.exists():
            some = nuclei + nuclei // 6 + 2  # there is no place for all of them
            source = Synthetic(
                size=(size, size), count=(some, some), radius=RADIUS, overlap=0.1, n_train=index + 1
            )
            record = source.read(f"synthetic-train-{index:04d}")
            labels = np.where(record.labels <= nuclei, record.labels, 0)
            np.savez(path, image=record.image, labels=labels)
        return path


def load(path: Path, device: str = "cpu") -> tuple[Tensor, Target]:
    """A synthetic image, normalised, `(3, H, W)` `float32`, and its target."""
    with np.load(path) as file:
        image, labels = file["image"], file["labels"]
    target = to_target(labels)
    moved = {key: value.to(device) for key, value in target.items()}  # type: ignore[attr-defined]
    return to_tensor(Percentile()(image)).to(device), moved  # type: ignore[return-value]


def label_map(path: Path) -> np.ndarray:
    """The `(H, W)` `int32` label map of a synthetic image."""
    with np.load(path) as file:
        return file["labels"]


def stack_of(target: Target) -> Tensor:
    """`(N, H, W)` `uint8` masks, which torchvision needs instead of a label map."""
    ids = torch.arange(1, len(target["boxes"]) + 1, device=target["label_map"].device)
    return (target["label_map"] == ids[:, None, None]).view(torch.uint8)
