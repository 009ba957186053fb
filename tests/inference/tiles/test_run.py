"""An image in tiles is what it is as a whole: drawn nuclei on every seam, through real nets."""

import numpy as np
import pytest
from support.lines import Lines
from support.tiled import Bright, grid_of, ious, model_of, on_seams

import nucleist
from nucleist.data.pictures.picture import ArrayPicture, Picture
from nucleist.data.pictures.rescaled import Rescaled
from nucleist.inference.tiles.grid import Grid
from nucleist.inference.tiles.run import Job, outline_tiles, outlined
from nucleist.models import otsu
from nucleist.ops.normalize import FullRange, Percentile
from nucleist.types import UserError, Window

pytestmark = pytest.mark.slow

SIZE = (500, 620)
SIDES = [(192, 64), (256, 64), (256, 128), (448, 64), (448, 128), (448, 192)]


@pytest.mark.parametrize(("tile", "overlap"), SIDES)
@pytest.mark.parametrize("net", [Bright(), otsu(), otsu(instances="components")], ids=str)
def test_nuclei_on_every_seam_are_those_of_the_whole_image(net, tile, overlap):
    image, truth = on_seams(grid_of(*SIZE, tile, overlap))
    model = model_of(net, 0.4)
    whole = model.predict(image)
    found = model.predict(image, tile=tile, overlap=overlap)
    assert len(found) == len(whole) == truth.max()
    assert ((found.labels > 0) == (whole.labels > 0)).all()
    assert (ious(truth, np.asarray(found.labels)) == 1).all()
    assert isinstance(found.labels, np.memmap) and found.labels.dtype == np.int32
    for name in ("area_px", "centroid_x", "centroid_y", "box_left", "box_bottom"):
        assert sorted(found.table[name]) == pytest.approx(sorted(whole.table[name]))


def test_a_net_with_attention_finds_in_tiles_what_it_finds_in_the_image():
    """Two windows of 192 x 256 px, whose seam is 64 px from their ends; one half is darker.

    With an attention of each tile 11 of the 21 nuclei would have an IoU below 0.99.
    """
    model = nucleist.load("nuclei", device="cpu")
    image = on_seams(grid_of(192, 384, 256, 128), step=40)[0].astype(int)
    image += np.random.default_rng(0).integers(0, 20, image.shape)
    image[:, 200:] //= 3
    image = image.astype(np.uint8)
    cuts = ({"tile": "none"}, {"tile": 256, "overlap": 128})
    whole, found = (model.predict(image, score_threshold=0.95, **cut) for cut in cuts)
    assert len(found) == len(whole) == 21
    assert ious(whole.labels, np.asarray(found.labels)).min() > 0.99


@pytest.mark.parametrize(("tile", "overlap"), SIDES[:4])
@pytest.mark.parametrize("wobble", [1, 2])
def test_tiles_that_see_a_nucleus_differently_agree_on_one(wobble, tile, overlap):
    grid = grid_of(*SIZE, tile, overlap)
    image, truth = on_seams(grid)
    found = model_of(Bright(wobble)).predict(image, tile=tile, overlap=overlap)
    assert len(found) == truth.max(), "none is lost, none is there twice"
    assert ious(truth, np.asarray(found.labels)).min() > 0.6


def test_near_seams_as_much_is_missed_as_elsewhere():
    grid = grid_of(1000, 1000, 192, 64)
    image, truth = on_seams(grid)
    found = model_of(Bright(blind=0.2)).predict(image, tile=192, overlap=64)
    seen = ious(truth, np.asarray(found.labels)) > 0.5
    rows, cols = np.nonzero(truth)
    ids = truth[rows, cols]
    y, x = (np.bincount(ids, along)[1:] / np.bincount(ids)[1:] for along in (rows, cols))
    seams = np.array([grid.core(t).y0 for t in range(0, len(grid), grid.cols)][1:])
    near = np.abs(y[:, None] - seams).min(1) < 16
    near |= np.abs(x[:, None] - seams).min(1) < 16
    assert near.sum() > 300 and (~near).sum() > 300
    assert seen[near].mean() == pytest.approx(0.8, abs=0.05)
    assert seen[~near].mean() == pytest.approx(0.8, abs=0.05)


def test_the_order_of_the_tiles_changes_nothing(tmp_path):
    """Half of the tiles, last ones first, were done by another process."""
    grid = Grid(*SIZE, 192, 64)
    picture = ArrayPicture(on_seams(grid)[0], "drawn")
    job = Job(Bright(wobble=2).eval(), FullRange(), 0.5)
    results = []
    for name, first in (("forward", []), ("backward", range(len(grid) - 1, 2, -2))):
        folder = tmp_path / name
        folder.mkdir()
        if name == "backward":
            outline_tiles(job, picture, grid, folder, Lines())
            for tile in set(range(len(grid))) - set(first):
                (folder / f"{tile}.npz").unlink()
        outlines = outline_tiles(job, picture, grid, folder, Lines())
        results.append((outlines.paint(picture.whole), outlines.table))
    (one, table), (two, other) = results
    np.testing.assert_array_equal(one, two)
    for column, values in table.items():
        np.testing.assert_array_equal(values, other[column])


class Watched(Picture):
    """Counts what is read of it."""

    def __init__(self, pixels):
        self.name, self.pixel_size, self.dtype, self.channels = "watched", None, pixels.dtype, ("",)
        self.height, self.width = pixels.shape[:2]
        self.pixels, self.windows, self.busy = pixels, [], 0

    def read(self, window):
        assert not self.busy, "two threads at once"
        self.busy += 1
        self.windows.append(window)
        part = self.pixels[window.slices].copy()
        self.busy -= 1
        return part

    def read_channels(self, window):
        return self.read(window)


def test_each_window_is_read_once_and_the_net_sees_no_more(tmp_path):
    grid = Grid(*SIZE, 192, 64)
    image, _ = on_seams(grid)
    image[:, 190:] = 7  # nothing is there, and the net is not asked
    picture, net = Watched(image), Bright().eval()
    outline_tiles(Job(net, FullRange(), 0.5), picture, grid, tmp_path, Lines())
    assert picture.windows[0] == picture.whole, "for the normalisation"
    assert picture.windows[1:] == [grid.window(tile) for tile in range(len(grid))]
    assert len(net.seen) == 2 * grid.rows and max(max(size) for size in net.seen) <= 192


def test_too_large_a_nucleus_is_named_while_it_runs_and_counted_at_the_end():
    image = np.full((300, 500, 3), 30, np.uint8)
    image[10:50, 60:200] = image[200:230, 200:249] = 200
    lines = Lines()
    found = model_of(Bright()).predict(image, tile=192, overlap=64, progress=lines)
    first, last = lines.warnings
    assert "too large for an overlap of 64 px" in first and "use overlap=" in first
    assert last.startswith("array: 2 nuclei, the largest of 40 x ")
    lines = Lines()
    found = model_of(Bright()).predict(image, tile=448, overlap=192, progress=lines)
    assert not lines.warnings and len(found) == 2


def test_a_limit_counts_once_an_image():
    class Capped(Bright):
        def forward(self, images, targets=None):
            self.limits_reached["roi.cap=3"] = 1
            return super().forward(images)

    model = model_of(Capped())
    model.net.limits_reached["roi.cap=3"] = 4  # in earlier images
    model.predict(on_seams(grid_of(*SIZE, 192))[0], tile=192)
    assert model.net.limits_reached == {"roi.cap=3": 5}


def test_the_normalisation_is_that_of_the_image():
    """In one half there are bright nuclei alone, in the other faint ones."""
    image, _ = on_seams(grid_of(*SIZE, 192))
    image[:, 300:] = 30 + (image[:, 300:] > 100) * 70
    model = model_of(Bright())
    object.__setattr__(model, "normalize", Percentile(0, 100))
    # of 200 - 30 the faint ones are 70 / 170, below one half
    found = model.predict(image, tile=192)
    np.testing.assert_array_equal(found.labels > 0, model.predict(image).labels > 0)
    assert not found.labels[:, 310:].any() and found.labels[:, :290].any()


def test_a_normalisation_that_cannot_be_fitted_is_told():
    model = model_of(Bright())
    object.__setattr__(model, "normalize", lambda image: image)
    with pytest.raises(UserError, match=r"normalize=function: without `fit`.*tile=none"):
        model.predict(np.zeros((500, 500, 3), np.uint8), tile=192)


def test_an_image_without_nuclei():
    found = model_of(Bright()).predict(np.zeros((300, 300), np.uint8), tile=192)
    assert len(found) == 0 and found.labels.shape == (300, 300) and not found.labels.any()
    assert found.boxes.shape == (0, 4) and found.scores.shape == (0,)


def test_pieces_are_dropped_in_tiles_too():
    class Pieces(Bright):
        def _found(self, image):
            found = super()._found(image)
            found["label_map"][20, 20], found["label_map"][20:24, 22:26] = 1, 1
            return found

    image = np.zeros((300, 300, 3), np.uint8)
    image[40:60, 40:60] = 255
    model = model_of(Pieces())
    with_pieces, without = (model.predict(image, pieces=p, tile=192) for p in (0, 1))
    assert (with_pieces.labels == 1).sum() > (without.labels == 1).sum()


@pytest.mark.parametrize("scale", [0.6, 2.0])
@pytest.mark.parametrize("net", [Bright(), otsu(clean=0.1)], ids=str)
def test_a_rescaled_image_in_tiles_is_what_it_is_as_a_whole(net, scale, tmp_path):
    grid = Grid(*SIZE, 256, 64)  # few tiles: all are surveyed
    picture = Rescaled(ArrayPicture(on_seams(grid)[0]), scale)
    job = Job(net.eval(), FullRange(), 0.5)
    whole = outlined(job, picture)
    outlines = outline_tiles(job, picture, grid, tmp_path, Lines())
    found = outlines.paint(picture.picture.whole)
    assert len(outlines) == len(whole) > 300
    np.testing.assert_array_equal(found > 0, whole.labels > 0)
    assert (ious(whole.labels, found) == 1).all()


def test_a_window_of_the_label_map_is_painted_alone(tmp_path):
    grid = Grid(*SIZE, 192, 64)
    picture = ArrayPicture(on_seams(grid)[0])
    outlines = outline_tiles(
        Job(Bright(wobble=1).eval(), FullRange(), 0.5), picture, grid, tmp_path, Lines()
    )
    whole = outlines.paint(picture.whole)
    for window in (Window(0, 0, 1, 1), Window(150, 100, 350, 330), Window(499, 0, 500, 620)):
        np.testing.assert_array_equal(outlines.paint(window), whole[window.slices])
