"""Synthetic fluorescence nuclei with exact labels, after the generator of the NuSeT paper.

The paper (Yang et al. 2020, methods, training with synthetic images) names the ingredients:
blobs that overlap, random polygons and lines as artefacts, varying brightness and size, Gaussian
blur and noise, labels split by a watershed. The numbers here are ours, all of them arguments.

How it works: a nucleus is a closed curve around its centre, an ellipse times a smooth random
radius profile (a few cosines of the angle). Nuclei are placed one by one, some on purpose half
on an earlier one, the others apart. Light adds up as in fluorescence: nuclei with their texture,
artefacts, background; then come blur, noise and gamma. An image is a function of the seed, the
split and its index only, so any worker may make any image, in any order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage
from skimage.draw import polygon2mask

from nucleist.data.readers.blobs import Blob, cover, line, outline, split
from nucleist.types import Record, Source, UserError

Range = tuple[float, float]
"""Lower and upper limit of a uniform draw."""

_VISIBLE = 0.55
"""Share of a nucleus that no other one covers, at least; the paper's generator asks for half."""

_TRIES = 12


@dataclass(frozen=True)
class Synthetic(Source):
    """A data set of generated nuclei.

    Attributes:
        n_train: Number of training images, `synthetic-train-0000` and so on.
        n_test: Number of test images.
        size: Height and width, pixels; or a range for each, `((h_min, h_max), (w_min, w_max))`,
            ends included.
        seed: Seed of everything.
        radius: Mean radius of the nuclei of an image, pixels, drawn evenly on a log scale.
        spread: A nucleus has the radius of its image times 1 plus or minus this, 0 to 0.9.
        count: Number of nuclei of an image, ends included; fewer if they do not fit. None to
            follow `coverage`.
        coverage: Share of the area covered by nuclei, used where `count` is None.
        elongation: Longest ratio of the axes, 1 or more; drawn from 1 up to it.
        roughness: How far outlines deviate from an ellipse: standard deviation of the k-th
            cosine of the radius profile, times k.
        overlap: Share of the nuclei that are placed partly on another one, 0 to 1.
        brightness: Brightness of a nucleus, 1 is the white of the image.
        texture: Largest strength of the texture inside nuclei, 0 none.
        artefacts: Number of polygons and lines, ends included; they are background.
        artefact_radius: Their size, in radii of the nuclei of the image.
        artefact_brightness: Their brightness, as that of nuclei.
        line_width: Width of the lines, pixels.
        background: Brightness of the background.
        shading: Largest slow variation of the background, 1 is white.
        exposure: The white of an image, as a share of the full scale of 8 bits.
        blur: Standard deviation of the blur, pixels.
        noise: Standard deviation of the noise, 1 is the full scale.
        photons: Photons at full scale, for photon noise besides; None for none.
        gamma: Exponent of the grey values.

    Raises:
        UserError: If a value is out of range.
    """

    grouped = True  # no image has to do with another
    n_train: int = 60
    n_test: int = 30
    size: tuple[int, int] | tuple[tuple[int, int], tuple[int, int]] = (256, 256)
    seed: int = 0
    radius: Range = (8.0, 16.0)
    spread: float = 0.25
    count: tuple[int, int] | None = (15, 40)
    coverage: Range = (0.05, 0.35)
    elongation: float = 1.6
    roughness: float = 0.1
    overlap: float = 0.3
    brightness: Range = (0.3, 1.0)
    texture: float = 0.35
    artefacts: tuple[int, int] = (0, 4)
    artefact_radius: Range = (0.3, 2.0)
    artefact_brightness: Range = (0.1, 0.5)
    line_width: Range = (1.0, 4.0)
    background: Range = (0.02, 0.12)
    shading: float = 0.06
    exposure: Range = (0.5, 1.0)
    blur: Range = (0.6, 1.6)
    noise: Range = (0.005, 0.03)
    photons: Range | None = None
    gamma: Range = (0.7, 1.3)
    _index: dict[str, tuple[int, int]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            _check_ranges(self)
        except (TypeError, IndexError) as error:
            raise UserError(f"synthetic: a value of the wrong kind ({error})") from error
        index = {
            f"synthetic-{split}-{number:04d}": (place, number)
            for place, (split, count) in enumerate((("train", self.n_train), ("test", self.n_test)))
            for number in range(count)
        }
        object.__setattr__(self, "_index", index)

    def splits(self) -> dict[str, list[str]]:
        """Ids of the images of the splits `train` and `test`."""
        ids = list(self._index)
        return {"train": ids[: self.n_train], "test": ids[self.n_train :]}

    def read(self, image_id: str) -> Record:
        """Make an image.

        Returns:
            Image `(H, W, 3)` `uint8`, gray; label map of ids 1 to N, every nucleus in one
            4-connected piece.

        Raises:
            UserError: If there is no image of this name.
        """
        if image_id not in self._index:
            raise UserError(
                f"{image_id}: not one of {self.n_train} training and {self.n_test} test images; "
                "ids are like synthetic-train-0003, raise n_train or n_test for more"
            )
        rng = np.random.default_rng([self.seed, *self._index[image_id]])
        shape = tuple(
            int(rng.integers(side[0], side[1] + 1)) if isinstance(side, Sequence) else side
            for side in self.size
        )
        image, labels = _scene(self, rng, shape)
        return Record(image_id, np.repeat(image[..., None], 3, axis=2), labels)


def _scene(
    p: Synthetic, rng: np.random.Generator, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    mean_radius = float(np.exp(rng.uniform(*np.log(p.radius))))
    blobs, owner = _place(p, rng, shape, mean_radius)
    light = _nuclei_light(p, rng, shape, mean_radius, blobs)
    for artefact, beneath in _artefacts(p, rng, shape, mean_radius):
        light = np.maximum(light, artefact) if beneath else light + artefact
    light += rng.uniform(*p.background) + p.shading * _slow_field(rng, shape)
    light = ndimage.gaussian_filter(light, rng.uniform(*p.blur))
    light = rng.uniform(*p.exposure) * np.clip(light, 0, 1) ** rng.uniform(*p.gamma)
    if p.photons is not None:
        photons = rng.uniform(*p.photons)
        light = rng.poisson(light * photons) / photons
    light += rng.normal(0, rng.uniform(*p.noise), shape)
    return np.round(np.clip(light, 0, 1) * 255).astype(np.uint8), split(owner)


def _place(
    p: Synthetic, rng: np.random.Generator, shape: tuple[int, ...], mean_radius: float
) -> tuple[list[Blob], np.ndarray]:
    """Place nuclei; also gives the nucleus of each pixel, 0 for none, -1 for several."""
    owner = np.zeros(shape, np.int32)
    blobs: list[Blob] = []
    centers: list[np.ndarray] = []
    radii: list[float] = []
    areas, alone = [0], [0]  # of nucleus i: its pixels, and those that no other covers
    for _ in range(_count(p, rng, shape, mean_radius)):
        radius = mean_radius * rng.uniform(1 - p.spread, 1 + p.spread)
        curve = outline(rng, radius, p.elongation, p.roughness)
        onto = bool(centers) and rng.random() < p.overlap
        for _ in range(_TRIES):
            center = rng.uniform(0, shape)
            if onto:
                other = rng.integers(len(centers))
                distance = rng.uniform(1.1, 1.8) * (radius + radii[other]) / 2
                angle = rng.uniform(0, 2 * np.pi)
                center = centers[other] + distance * np.array([np.sin(angle), np.cos(angle)])
                if not np.all((center >= 0) & (center < shape)):
                    continue
            window, covers = cover(curve, center, shape)
            mask = covers >= 0.5
            covered = owner[window][mask]
            lost = np.bincount(covered[covered > 0], minlength=len(areas))
            free = int(np.count_nonzero(covered == 0))
            enough = np.array(alone) - lost >= _VISIBLE * np.array(areas)
            apart = free == len(covered)
            if not (apart or (onto and free >= _VISIBLE * len(covered) and enough.all())):
                continue
            owner[window][mask] = np.where(covered == 0, len(areas), -1)
            alone = [*(np.array(alone) - lost).tolist(), free]
            areas.append(len(covered))
            blobs.append((window, covers))
            centers.append(center)
            radii.append(radius)
            break
    return blobs, owner


def _count(
    p: Synthetic, rng: np.random.Generator, shape: tuple[int, ...], mean_radius: float
) -> int:
    if p.count is not None:
        return int(rng.integers(p.count[0], p.count[1] + 1))
    area = rng.uniform(*p.coverage) * shape[0] * shape[1]
    return max(1, round(area / (np.pi * mean_radius**2)))


def _nuclei_light(
    p: Synthetic,
    rng: np.random.Generator,
    shape: tuple[int, ...],
    mean_radius: float,
    blobs: list[Blob],
) -> np.ndarray:
    light = np.zeros(shape)
    adds = rng.random() < 0.5  # nuclei of different depth add up, neighbours squeezed flat do not
    texture = np.zeros(shape)
    for scale in (mean_radius / 3, mean_radius / 8):  # chromatin: patches and grains
        grain = ndimage.gaussian_filter(rng.normal(size=shape), scale)
        texture += grain / (2 * grain.std() + 1e-12)
    for window, covers in blobs:
        strength = rng.uniform(0, p.texture)
        one = rng.uniform(*p.brightness) * covers * np.maximum(1 + strength * texture[window], 0.2)
        light[window] = light[window] + one if adds else np.maximum(light[window], one)
    return light


def _artefacts(
    p: Synthetic, rng: np.random.Generator, shape: tuple[int, ...], mean_radius: float
) -> Iterator[tuple[np.ndarray, bool]]:
    """Polygons and lines, each with whether nuclei outshine it or add to it."""
    for _ in range(rng.integers(p.artefacts[0], p.artefacts[1] + 1)):
        center, size = rng.uniform(0, shape), mean_radius * rng.uniform(*p.artefact_radius)
        if rng.random() < 0.5:
            angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 9)))
            radii = size * rng.uniform(0.4, 1, angles.shape)
            corners = center + np.stack([radii * np.sin(angles), radii * np.cos(angles)], 1)
            covers = polygon2mask(shape, corners).astype(float)
        else:
            steps = rng.normal(0, 2 * size, (rng.integers(1, 5), 2))
            corners = np.concatenate([center[None], center + np.cumsum(steps, 0)])
            covers = line(corners, rng.uniform(*p.line_width), shape)
        yield covers * rng.uniform(*p.artefact_brightness), rng.random() < 0.5


def _slow_field(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """A smooth field between 0 and 1: the lowest cosines of height and width."""
    y, x = (np.cos(np.pi * np.outer(np.linspace(0, 1, n), np.arange(3))) for n in shape)
    values = y @ rng.normal(size=(3, 3)) @ x.T
    return (values - values.min()) / (np.ptp(values) + 1e-12) * rng.random()


def _check_ranges(p: Synthetic) -> None:
    sides = [s for side in p.size for s in (side if isinstance(side, Sequence) else [side])]
    if len(p.size) != 2 or len(sides) not in (2, 4) or min(sides) < 16:
        raise UserError(f"synthetic: size={p.size}; give (height, width), 16 px or more")
    if p.n_train < 0 or p.n_test < 0 or p.seed < 0:
        raise UserError("synthetic: n_train, n_test and seed must not be negative; give 0 or more")
    limits = {"radius": 1, "gamma": 0.01, "photons": 1}
    for name in (
        "radius count coverage brightness artefacts artefact_radius artefact_brightness "
        "line_width background exposure blur noise photons gamma"
    ).split():
        value, lowest = getattr(p, name), limits.get(name, 0)
        if value is not None and not lowest <= value[0] <= value[1]:
            raise UserError(
                f"synthetic: {name}={value} is not a range; give two numbers, the lower first, "
                f"from {lowest} up"
            )
    if p.elongation < 1 or not 0 <= p.spread <= 0.9 or not 0 <= p.overlap <= 1:
        raise UserError(
            f"synthetic: elongation={p.elongation}, spread={p.spread}, overlap={p.overlap}; "
            "give elongation from 1, spread in 0 to 0.9, overlap in 0 to 1"
        )
