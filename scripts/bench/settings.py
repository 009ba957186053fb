"""What is measured: sizes, numbers of nuclei, runs; and the drawn images."""

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
"""Pixels of an image for each nucleus, at least, or they do not fit side by side."""
RADIUS = (7.0, 9.0)
SIDE = 17.0
"""Median side of their boxes, pixels."""
LARGE = 600_000_000
"""Nuclei x height x width from which torchvision needs 10 GB (paper's anchors) to 20 (compact)."""


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        sizes: Sides of the square images, pixels, ascending.
        nuclei: Numbers of nuclei in an image, ascending.
        runs: Timed runs of a case, at most.
        parts: Some of `PARTS`.
        preset: Of nucleist's nets.
        device: `cpu` or `cuda`.
        large: Whether torchvision is run on images of `LARGE` mask pixels and more.
        baseline: Checkpoint of a trained baseline; None for planted proposals.
        pa: Checkpoint of a trained partial-annotation net.
        folder: Temporary folder for drawn images.
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
        """Whether torchvision is spared this."""
        return not self.large and nuclei * size * size >= LARGE

    def drawn(self, size: int, nuclei: int, index: int = 0) -> Path:
        """File of a drawn image, made when first asked for."""
        path = self.folder / f"{size}_{nuclei}_{index}.npz"
        if not path.exists():
            some = nuclei + nuclei // 6 + 2  # not all that are asked for find a place
            source = Synthetic(
                size=(size, size), count=(some, some), radius=RADIUS, overlap=0.1, n_train=index + 1
            )
            record = source.read(f"synthetic-train-{index:04d}")
            labels = np.where(record.labels <= nuclei, record.labels, 0)
            np.savez(path, image=record.image, labels=labels)
        return path


def load(path: Path, device: str = "cpu") -> tuple[Tensor, Target]:
    """A drawn image, normalised, `(3, H, W)`, and what is to be found in it."""
    with np.load(path) as file:
        image, labels = file["image"], file["labels"]
    target = to_target(labels)
    moved = {key: value.to(device) for key, value in target.items()}  # type: ignore[attr-defined]
    return to_tensor(Percentile()(image)).to(device), moved  # type: ignore[return-value]


def label_map(path: Path) -> np.ndarray:
    """The `(H, W)` `int32` labels of a drawn image."""
    with np.load(path) as file:
        return file["labels"]


def stack_of(target: Target) -> Tensor:
    """`(N, H, W)` `uint8` masks, what torchvision is given instead of a label map."""
    ids = torch.arange(1, len(target["boxes"]) + 1, device=target["label_map"].device)
    return (target["label_map"] == ids[:, None, None]).view(torch.uint8)
