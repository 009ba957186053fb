"""Augmentation of an image together with its label map.

By albumentations; the crop is our own, because with one labelled nucleus an image a random
window would mostly hold none.
"""

import math
import os
import random
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

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
        scale: Smallest and largest factor by which images are resized, uniform in its logarithm;
            the window is cut so that it has `crop` pixels afterwards. None keeps their scale.
        diameters: The factor is limited so that the image's median nucleus is not smaller or
            larger than this afterwards, pixels; None for no limit.
    """

    def __init__(
        self,
        transforms: list[A.BasicTransform | A.BaseCompose] | None = None,
        crop: int | None = None,
        focus: float = 1.0,
        scale: Sequence[float] | None = None,
        diameters: Sequence[float] | None = None,
    ):
        if crop is not None and crop < 1:
            raise UserError(
                f"augment.crop={crop}: give the side in pixels, or null for whole images"
            )
        for key, pair in (("scale", scale), ("diameters", diameters)):
            if pair is not None and not (len(pair) == 2 and 0 < pair[0] <= pair[1]):
                raise UserError(f"augment.{key}={list(pair)}: give the smallest and the largest")
        self.compose = A.Compose(list(transforms or []))
        self.crop = crop
        self.focus = focus
        self.scale, self.diameters = scale, diameters

    def __call__(self, image: np.ndarray, labels: np.ndarray, seed: int) -> Pair:
        """Augment one image.

        Args:
            image: `(H, W, 3)` `float32`.
            labels: `(H, W)` `int32`; ids above 2^24 are numbered anew, in their order. Negative
                values are no nuclei and stay.
            seed: Decides everything; the same seed gives the same result in any process.
        """
        rng = np.random.default_rng(seed)
        factor = 1.0 if self.scale is None else self._factor(labels, self.scale, rng)
        if self.crop is not None:
            rows, cols = self._window(labels, max(round(self.crop / factor), 1), rng)
            image, labels = image[rows, cols], labels[rows, cols]
        if factor != 1:
            image, labels = resized(image, labels, factor)
        # Not `set_random_seed`: it gives every transform the same numbers, and then two flips of
        # probability 0.5 always happen together.
        self.compose.set_random_state(rng, random.Random(int(rng.integers(2**31))))
        # OpenCV has no 32-bit integer warps; float32 holds every id up to 2^24.
        if labels.max(initial=0) > 2**24:
            ids = np.unique(labels[labels > 0])
            labels = np.where(labels > 0, np.searchsorted(ids, labels) + 1, labels)
        done = self.compose(image=image, mask=labels.astype(np.float32))
        return np.clip(done["image"], 0.0, 1.0), done["mask"].astype(np.int32)

    def _factor(
        self, labels: np.ndarray, scale: Sequence[float], rng: np.random.Generator
    ) -> float:
        """How many times larger the image gets."""
        factor = math.exp(rng.uniform(math.log(scale[0]), math.log(scale[1])))
        areas = np.unique(labels[labels > 0], return_counts=True)[1]
        if self.diameters is None or not len(areas):
            return factor
        usual = 2 * math.sqrt(float(np.median(areas)) / math.pi)
        low, high = (limit / usual for limit in self.diameters)
        return min(max(factor, low), high)

    def _window(
        self, labels: np.ndarray, crop: int, rng: np.random.Generator
    ) -> tuple[slice, slice]:
        ids = np.unique(labels[labels > 0])
        middle = None
        if len(ids) and rng.random() < self.focus:
            inside = np.argwhere(labels == rng.choice(ids))
            middle = inside.mean(0).astype(int)
        return tuple(  # type: ignore[return-value]
            _span(side, crop, None if middle is None else middle[axis], rng)
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


def resized(image: np.ndarray, labels: np.ndarray, factor: float) -> Pair:
    """An image and its label map `factor` times as large.

    Intensities are interpolated, or averaged where it gets smaller; labels are those under the
    middles of the new pixels.

    Args:
        image: `(H, W, 3)` `float32`.
        labels: `(H, W)` `int32`.
        factor: Above 0.
    """
    height, width = (max(round(side * factor), 1) for side in labels.shape)
    rows, cols = (
        ((np.arange(to) + 0.5) * old / to).astype(int)
        for to, old in zip((height, width), labels.shape, strict=True)
    )
    planes = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
    new = F.interpolate(planes, (height, width), mode="bilinear", antialias=True)[0]
    return new.permute(1, 2, 0).contiguous().numpy(), labels[np.ix_(rows, cols)]


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


def wide(
    crop: int | None = None,
    focus: float = 1.0,
    scale: Sequence[float] | None = (0.5, 2.2),
    diameters: Sequence[float] | None = (10.0, 100.0),
) -> Augment:
    """For nets that are to see images of any microscope: scale, contrast, inversion and colour.

    Gray images stay gray or get one colour, as of a fluorescent dye; those of stains get other
    hues or become gray. Bright nuclei on dark become dark on bright, and the other way round.

    Args:
        crop: See `Augment`.
        focus: See `Augment`.
        scale: See `Augment`.
        diameters: See `Augment`.
    """
    stain = [
        A.HEStain(intensity_scale_range=(0.7, 1.3), intensity_shift_range=(-0.15, 0.15)),
        A.HueSaturationValue(25, 40, 0),
    ]
    transforms: list[A.BasicTransform | A.BaseCompose] = [
        A.D4(p=1.0),
        A.RandomGamma((50, 200), p=0.5),  # before others leave [0, 1]
        A.OneOf(stain, p=0.3),
        A.ToGray(p=0.2),
        A.InvertImg(p=0.2),
        A.RandomBrightnessContrast(0.2, 0.35, p=0.5),
        A.OneOf([A.ChannelDropout((1, 2)), A.ChannelShuffle()], p=0.15),
        A.OneOf([A.GaussianBlur(sigma_limit=(0.3, 2.0)), A.GaussNoise((0.01, 0.08))], p=0.4),
    ]
    return Augment(transforms, crop, focus, scale, diameters)
