"""Where drawn discs of known position are after they were read, cut into tiles or augmented."""

import json

import albumentations as A
import numpy as np
import pytest
from roifile import ROI_OPTIONS, ROI_TYPE, ImagejRoi
from support.drawn import areas, disc, middle, middles, picture_of

from nucleist.data import Tiles
from nucleist.data.formats.coco import CocoImage, encode_rle, label_map
from nucleist.data.formats.geojson import read_geojson
from nucleist.data.formats.imagej import read_rois
from nucleist.data.outlines import fill
from nucleist.data.transforms import Augment
from nucleist.types import Record, Source

SHAPE = (40, 48)


def known(seed):
    """Centre (y, x) and radius of a disc, with any fraction."""
    rng = np.random.default_rng(seed)
    return rng.uniform((16, 18), (24, 30)), rng.uniform(5, 14)


def outline(center, radius, count=720):
    """Vertices (x, y) around a disc."""
    angle = np.arange(count) * 2 * np.pi / count
    return center[::-1] + radius * np.stack([np.cos(angle), np.sin(angle)], 1)


def by_polygon(center, radius):
    shape = fill(outline(center, radius), SHAPE, 1)
    labels = np.zeros(SHAPE, np.int32)
    height, width = shape.mask.shape
    labels[shape.top : shape.top + height, shape.left : shape.left + width] = shape.mask
    return labels


def by_imagej_polygon(center, radius):
    roi = ImagejRoi.frompoints(outline(center, radius).astype(np.float32))
    assert roi.options & ROI_OPTIONS.SUB_PIXEL_RESOLUTION
    return read_rois(roi.tobytes(), "a.roi", SHAPE)[0]


def by_imagej_oval(center, radius):
    roi = ImagejRoi()
    roi.roitype, roi.version = ROI_TYPE.OVAL, 228
    roi.options |= ROI_OPTIONS.SUB_PIXEL_RESOLUTION
    roi.yd, roi.xd = center - radius
    roi.widthd = roi.heightd = 2 * radius
    roi.top, roi.left = (int(side) for side in center - radius)
    roi.bottom, roi.right = (int(np.ceil(side)) for side in center + radius)
    return read_rois(roi.tobytes(), "a.roi", SHAPE)[0]


def by_geojson(center, radius):
    ring = outline(center, radius).tolist()
    geometry = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
    feature = {"type": "Feature", "geometry": geometry, "properties": {"objectType": "annotation"}}
    return read_geojson(json.dumps([feature]).encode(), "a", SHAPE)[0]


def by_coco_polygon(center, radius):
    entry = {"id": 1, "segmentation": [outline(center, radius).ravel().tolist()]}
    return label_map(CocoImage("a.png", *SHAPE, [entry]), "a.json", SHAPE)[0]


def by_coco_rle(center, radius):
    entry = {"id": 1, "segmentation": encode_rle(disc(SHAPE, center, radius) > 0)}
    return label_map(CocoImage("a.png", *SHAPE, [entry]), "a.json", SHAPE)[0]


READ = [by_polygon, by_imagej_polygon, by_imagej_oval, by_geojson, by_coco_polygon, by_coco_rle]


@pytest.mark.parametrize("read", READ, ids=lambda read: read.__name__)
def test_outlines_are_read_where_they_were_drawn(read):
    apart, off, pixels = [], [], 0
    for seed in range(40):
        center, radius = known(seed)
        labels = read(center, radius)
        apart.append(middle(labels) - center)
        off.append(areas(labels, 1)[0] / (np.pi * radius**2) - 1)
        pixels += np.count_nonzero(labels != disc(SHAPE, center, radius))
    assert np.abs(np.mean(apart, 0)).max() < 0.03 and np.abs(apart).max() < 0.2
    assert abs(np.mean(off)) < 0.01
    assert pixels <= 2  # a middle on the outline may be rounded to either side


class Drawn(Source):
    """One image of two discs."""

    centers = np.array([[17.3, 20.8], [61.6, 49.2]])

    def splits(self):
        return {"train": [], "test": ["a"]}

    def read(self, image_id):
        labels = disc((84, 70), self.centers[0], 9.5) + 2 * disc((84, 70), self.centers[1], 7.5)
        image = np.repeat(((labels > 0) * 200).astype(np.uint8)[..., None], 3, 2)
        return Record(image_id, image, labels)


def test_tiles_show_nuclei_where_their_names_say():
    tiles, whole = Tiles(Drawn(), size=32), Drawn().read("a").labels
    rebuilt, found = np.zeros_like(whole), []
    for name in tiles.splits()["test"]:
        row, col = map(int, name.removeprefix("a@").split(","))
        tile = tiles.read(name)
        rebuilt[row : row + 32, col : col + 32] = tile.labels
        if (tile.labels == 1).sum() == (whole == 1).sum():  # the disc is whole in this tile
            found.append(middle(tile.labels == 1) + np.array([row, col]))
        if tile.labels.any():
            np.testing.assert_allclose(middle(tile.image[..., 0]), middle(tile.labels > 0))
    np.testing.assert_array_equal(rebuilt, whole)
    assert np.abs(middles(rebuilt, 2) - Drawn.centers).max() < 0.15
    assert all(np.abs(one - Drawn.centers[0]).max() < 0.15 for one in found)


def test_turned_and_scaled_labels_lie_on_their_image():
    turn = Augment([A.Affine(scale=(0.75, 1.3), rotate=(-45, 45), balanced_scale=True, p=1.0)])
    apart, areas_ratio = [], []
    for seed in range(80):
        rng = np.random.default_rng(seed)
        center, radius = rng.uniform(26, 38, 2), rng.uniform(6, 12)
        image = np.repeat(picture_of((64, 64), center, radius)[..., None], 3, 2)
        turned, labels = turn(image, disc((64, 64), center, radius), seed)
        apart.append(middle(turned[..., 0]) - middle(labels))
        areas_ratio.append((labels > 0).sum() / turned[..., 0].sum())
    assert np.abs(np.mean(apart, 0)).max() < 0.05 and np.abs(apart).max() < 0.35
    assert np.mean(areas_ratio) == pytest.approx(1, abs=0.01)
