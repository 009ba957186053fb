"""Label maps that cannot be right are refused; odd ones get a note.

What is judged is the separate pieces: in a label map nearly every id is one connected region, and 0
is around them. Masks of classes, blurred or resized masks, ids that began again at 256 and camera
images have ids in many pieces. Of 664 images of BBBC038 and 13 of Kumar none is refused or odd.
"""

from dataclasses import dataclass

import numpy as np
from skimage.measure import label

from nucleist.data.formats.label_maps import components
from nucleist.types import UserError

MOST = 0.5
"""Share of an image above which one region is odd."""

TOUCHING = 0.9
"""Share of the borders of labels that are borders with another label, above which it is odd."""

_LIMITS = (255, 65_535)  # the largest values of 8 and 16 bits
_PIECES = 3  # of one id, from which they are many
_NOISE_PX = 4  # mean area of regions up to which they are noise, not nuclei


@dataclass(frozen=True)
class Pieces:
    """The connected regions of one value in a label map.

    Attributes:
        labels: `(H, W)`, the label map.
        map: `(H, W)` `int32`, 8-connected regions of one id, numbered from 1; 0 is background.
        area: `(P,)` `int64`, pixels of each region.
        ids: `(N,)`, the ids, ascending.
        owner: `(P,)` `int64`, the place of each region's id in `ids`.
    """

    labels: np.ndarray
    map: np.ndarray
    area: np.ndarray
    ids: np.ndarray
    owner: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """Number of regions of each id, `(N,)`."""
        return np.bincount(self.owner, minlength=len(self.ids))


def pieces_of(labels: np.ndarray) -> Pieces:
    """Find the regions of a label map `(H, W)` of integers, 0 or more."""
    regions, count = label(labels, background=0, connectivity=2, return_num=True)
    id_of = np.zeros(count + 1, labels.dtype)
    id_of[regions.ravel()] = labels.ravel()
    ids, owner = np.unique(id_of[1:], return_inverse=True)
    area = np.bincount(regions.ravel(), minlength=count + 1)[1:]
    return Pieces(labels, regions, area, ids, owner.reshape(-1))


def check_label_map(labels: np.ndarray, where: str) -> tuple[str, ...]:
    """Refuse what cannot be a label map.

    Args:
        labels: `(H, W)` integers, 0 or more.
        where: The file, for messages.

    Returns:
        What is odd about it, see `oddities`.

    Raises:
        UserError: If it is a mask of classes, a blurred mask, a camera image, has a background
            that is not 0, ids that began again after 8 or 16 bits, or a value for "ignore".
    """
    found = pieces_of(labels)
    if not len(found.ids):
        return ()
    _check_background(found, where)
    _check_noise(found, where)
    _check_classes(found, where)
    _check_limit(found, where)
    return oddities(found)


def oddities(found: Pieces) -> tuple[str, ...]:
    """What a person should look at, one sentence each.

    That is ids with regions far from each other, a region that covers most of the image, ids that
    touch everywhere, and a largest value that may mean "ignore".
    """
    if not len(found.ids):
        return ()
    said = []
    if len(far := far_ids(found)):
        said.append(
            f"{len(far)} labels have pieces far from each other, first label {far[0]}; look "
            "whether nuclei share an id"
        )
    largest = int(found.area.argmax())
    share = found.area[largest] / found.labels.size
    if share > MOST:
        said.append(
            f"label {found.ids[found.owner[largest]]} covers {share:.0%} of the image; look "
            "whether it is the background, which must be 0"
        )
    touching = _touching(found.labels)
    if len(found.ids) > 4 and touching > TOUCHING:
        said.append(
            f"{touching:.0%} of the labels' borders touch another label; look whether they are "
            "nuclei"
        )
    top = int(found.ids[-1])
    if len(found.ids) > 1 and top in _LIMITS and found.ids[-2] < 0.8 * top:
        said.append(
            f"label {top} is far above the next, {found.ids[-2]}; if it means 'ignore', set it to 0"
        )
    return tuple(said)


def far_ids(found: Pieces) -> np.ndarray:
    """Ids with regions farther from their largest one than that is long, ascending."""
    several = np.flatnonzero(found.counts[found.owner] > 1)  # regions
    if not len(several):
        return found.ids[:0]
    box = _boxes(found, several)
    largest = np.zeros(len(found.ids), np.int64)  # of each id, its place in `several`
    order = np.argsort(found.area[several], kind="stable")
    largest[found.owner[several][order]] = order
    main = box[largest[found.owner[several]]]
    gap = np.maximum(main[:, :2] - box[:, 2:], box[:, :2] - main[:, 2:]).clip(0)
    length = np.hypot(*(main[:, 2:] - main[:, :2]).T)
    return found.ids[np.unique(found.owner[several][np.hypot(*gap.T) > length])]


def _boxes(found: Pieces, regions: np.ndarray) -> np.ndarray:
    """Top, left, bottom, right (exclusive) of some regions, `(K, 4)`."""
    place = np.full(len(found.area) + 1, -1)
    place[regions + 1] = np.arange(len(regions))
    rows, columns = np.nonzero(place[found.map] >= 0)
    at = place[found.map[rows, columns]]
    box = np.empty((len(regions), 4), np.int64)
    box[:, :2], box[:, 2:] = max(found.labels.shape), -1
    for column, values in enumerate((rows, columns)):
        np.minimum.at(box[:, column], at, values)
        np.maximum.at(box[:, column + 2], at, values + 1)
    return box


def _touching(labels: np.ndarray) -> float:
    """Share of the pixel edges around labels that have a label on both sides, in [0, 1]."""
    both, either = 0, 0
    for one, other in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        differ = one != other
        either += int(np.count_nonzero(differ))
        both += int(np.count_nonzero(differ & (one > 0) & (other > 0)))
    return both / max(either, 1)


def _enclosed(region: np.ndarray) -> int:
    """Number of holes of a region, `(H, W)` `bool`."""
    holes, count = label(~region, connectivity=1, return_num=True)
    rim = np.unique(np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]]))
    return int(count - np.count_nonzero(rim))


def _check_background(found: Pieces, where: str) -> None:
    largest = int(found.area.argmax())
    share = found.area[largest] / found.labels.size
    if share > MOST and (holes := _enclosed(found.map == largest + 1)) >= _PIECES:
        raise UserError(
            f"{where}: label {found.ids[found.owner[largest]]} covers {share:.0%} of the image "
            f"around {holes} other regions, as the background does; set the background to 0 and "
            "give each nucleus its own id"
        )


def _check_noise(found: Pieces, where: str) -> None:
    size = found.area.sum() / len(found.area)
    empty = np.count_nonzero(found.labels == 0) / found.labels.size
    many = np.mean(found.counts >= _PIECES) >= 0.5
    if len(found.ids) >= 50 and (size <= _NOISE_PX or (many and empty < 0.01)):
        raise UserError(
            f"{where}: {len(found.ids)} values in {len(found.area)} regions of {size:.0f} pixels "
            "on average, as in a camera image; give the label map, where each nucleus has its own "
            "id and the background is 0"
        )


def _check_classes(found: Pieces, where: str) -> None:
    """Refuse if half of the ids are in many pieces."""
    ids, regions = len(found.ids), len(found.area)
    if ids < 2 or np.mean(found.counts >= _PIECES) < 0.5 or regions < _PIECES * ids:
        return
    top = int(found.ids[-1])
    if top in _LIMITS and ids > 0.95 * top:
        raise _wrapped(found, where, f"{regions} separate regions")
    kind = "a mask of classes or with a soft edge" if ids < 20 else "a mask blurred or resized"
    raise UserError(
        f"{where}: {ids} values in {regions} separate regions, {kind}, no label map; give each "
        "nucleus its own id or, if the separate regions are the nuclei, set "
        "data.source.masks=components (masks=components in nucleist evaluate)"
    )


def _check_limit(found: Pieces, where: str) -> None:
    """Refuse ids that began again at the limit of 8 or 16 bits, and a value for "ignore"."""
    top, ids = int(found.ids[-1]), len(found.ids)
    if top not in _LIMITS or ids < 2:
        return
    if ids > 0.95 * top and (far := len(far_ids(found))) > 1:
        raise _wrapped(found, where, f"{far} of them on nuclei far from each other")
    apart = found.ids[-2] < 0.8 * top
    of_top = np.flatnonzero(found.owner == ids - 1)
    # The void of PASCAL VOC: rims around the objects.
    around = len(of_top) == 1 and _enclosed(found.map == of_top[0] + 1) > 1
    if apart and (len(of_top) >= _PIECES or around):
        raise UserError(
            f"{where}: label {top} in {len(of_top)} regions, the next is {found.ids[-2]}; a value "
            "for 'ignore' or for borders is no nucleus, set it to 0"
        )


def _wrapped(found: Pieces, where: str, what: str) -> UserError:
    bits = 8 if found.ids[-1] == 255 else 16
    return UserError(
        f"{where}: all ids of {bits} bits, {what}: the ids began again after {found.ids[-1]}; save "
        f"the label map with {2 * bits} bits"
    )


def _is_soft(values: np.ndarray) -> bool:
    """Whether a mask has shades: most of it is near its largest value, above 127."""
    top = float(values.max(initial=0))
    if top <= 127:
        return False
    low = np.where(values > top / 2, 0, values)
    near = np.count_nonzero(values >= 0.9 * top)
    if near > np.count_nonzero(values) / 2:
        return bool(low.any())
    regions = pieces_of(low)
    noisy = len(regions.area) > 0 and regions.area.mean() <= _NOISE_PX
    return bool(noisy and near > np.count_nonzero(values > top / 2) / 2)


def pieces_of_mask(values: np.ndarray, where: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Take the connected pieces of a mask for the nuclei.

    Args:
        values: `(H, W)`, 0 outside nuclei. In a mask with a soft edge or with the noise of a JPEG
            what is above half of the largest value is inside.
        where: The file, for messages.

    Returns:
        `(H, W)` `int32` label map, and the notes.

    Raises:
        UserError: If the background is not 0.
    """
    mask = values > values.max(initial=0) / 2 if _is_soft(values) else values > 0
    labels, count = components(mask)
    found = pieces_of(labels)
    if count:
        _check_background(found, where)
    notes = (f"binary mask: its {count} pieces are the nuclei", *oddities(found))
    return labels, notes
