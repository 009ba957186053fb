"""Augmentation of an image together with its label map.

By albumentations; the crop is our own, because with one labelled nucleus an image a random
window would mostly hold none.
"""

import os
import random

import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # importing must not use the network

import albumentations as A

from nucleist.types import UserError

Pair = tuple[np.ndarray, np.ndarray]


class Augment:
    """Crop, then albumentations.

    Args:
        transforms: albumentations transforms for a `float32` RGB image in [0, 1] and its mask.
        crop: Side of the square training window in pixels; None for whole images. Images
            smaller than it are taken whole.
        focus: Probability that the window holds the middle of an annotated nucleus, chosen
            uniformly among the image's; otherwise it is placed uniformly.
    """

    def __init__(
        self,
        transforms: list[A.BasicTransform | A.BaseCompose] | None = None,
        crop: int | None = None,
        focus: float = 1.0,
    ):
        if crop is not None and crop < 1:
            raise UserError(
                f"augment.crop={crop}: give the side in pixels, or null for whole images"
            )
        self.compose = A.Compose(list(transforms or []))
        self.crop = crop
        self.focus = focus

    def __call__(self, image: np.ndarray, labels: np.ndarray, seed: int) -> Pair:
        """Augment one image.

        Args:
            image: `(H, W, 3)` `float32`.
            labels: `(H, W)` `int32`; ids above 2^24 are numbered anew, in their order. Negative
                values are no nuclei and stay.
            seed: Decides everything; the same seed gives the same result in any process.
        """
        rng = np.random.default_rng(seed)
        if self.crop is not None:
            rows, cols = self._window(labels, rng)
            image, labels = image[rows, cols], labels[rows, cols]
        # Not `set_random_seed`: it gives every transform the same numbers, and then two flips of
        # probability 0.5 always happen together.
        self.compose.set_random_state(rng, random.Random(int(rng.integers(2**31))))
        # OpenCV has no 32-bit integer warps; float32 holds every id up to 2^24.
        if labels.max(initial=0) > 2**24:
            ids = np.unique(labels[labels > 0])
            labels = np.where(labels > 0, np.searchsorted(ids, labels) + 1, labels)
        done = self.compose(image=image, mask=labels.astype(np.float32))
        return np.clip(done["image"], 0.0, 1.0), done["mask"].astype(np.int32)

    def _window(self, labels: np.ndarray, rng: np.random.Generator) -> tuple[slice, slice]:
        assert self.crop is not None
        ids = np.unique(labels[labels > 0])
        middle = None
        if len(ids) and rng.random() < self.focus:
            inside = np.argwhere(labels == rng.choice(ids))
            middle = inside.mean(0).astype(int)
        return tuple(  # type: ignore[return-value]
            _span(side, self.crop, None if middle is None else middle[axis], rng)
            for axis, side in enumerate(labels.shape)
        )


def _span(side: int, crop: int, middle: int | None, rng: np.random.Generator) -> slice:
    """A range of `crop` pixels of a side, uniform among those that hold `middle`."""
    if side <= crop:
        return slice(0, side)
    low, high = 0, side - crop
    if middle is not None:
        low, high = max(low, middle - crop + 1), min(high, middle)
    start = int(rng.integers(low, high + 1))
    return slice(start, start + crop)


def check_hidden(supervision: str, augment: Augment | None, pasted: int) -> None:
    """Refuse augmentation that needs instances where only foreground and count may be used.

    Args:
        supervision: `"binary"` hides the instances; nothing is refused with another.
        augment: A window around one nucleus reveals which pixels belong together; None if
            nothing is trained.
        pasted: Largest number of nuclei pasted into an image, each cut out by its instance.

    Raises:
        UserError: If windows are placed by nuclei, or nuclei are pasted.
    """
    if supervision != "binary" or augment is None:
        return
    if augment.crop is not None and augment.focus > 0:
        raise UserError(
            f"augment.focus={augment.focus} places windows by single nuclei, which "
            "data.supervision=binary hides; set augment.focus=0, or data.supervision=instances"
        )
    if pasted > 0:
        raise UserError(
            f"data.pasted={pasted} pastes single nuclei, which data.supervision=binary hides; "
            "set data.pasted=0"
        )


def flips(crop: int | None = None, focus: float = 1.0) -> Augment:
    """Horizontal and vertical flips, each with probability 0.5 (the papers')."""
    return Augment([A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)], crop, focus)


def light(crop: int | None = None, focus: float = 1.0) -> Augment:
    """The eight symmetries of the square and gamma; nothing is resampled."""
    return Augment([A.D4(p=1.0), A.RandomGamma((70, 140), p=0.5)], crop, focus)


def strong(crop: int | None = None, focus: float = 1.0, stain: float = 0.0) -> Augment:
    """Symmetries, rotation, scale, brightness and contrast, blur, noise and stain jitter.

    Args:
        crop: See `Augment`.
        focus: See `Augment`.
        stain: Probability of a jitter of haematoxylin and eosin, for H&E images only.
    """
    transforms: list[A.BasicTransform | A.BaseCompose] = [
        A.D4(p=1.0),
        A.Affine(scale=(0.75, 1.3), rotate=(-45, 45), balanced_scale=True, p=0.5),
        A.RandomBrightnessContrast(0.2, 0.2, p=0.5),
        A.RandomGamma((70, 140), p=0.3),
        A.OneOf([A.GaussianBlur(sigma_limit=(0.3, 1.5)), A.GaussNoise((0.01, 0.05))], p=0.4),
    ]
    if stain > 0:
        jitter = A.HEStain(
            intensity_scale_range=(0.8, 1.2), intensity_shift_range=(-0.1, 0.1), p=stain
        )
        transforms.append(jitter)
    return Augment(transforms, crop, focus)
