"""Nuclei of an image in tiles as arrays."""

from pathlib import Path

import numpy as np
from support.lines import Lines
from support.tiled import Bright, on_seams

from nucleist.data.pictures.picture import ArrayPicture
from nucleist.inference.tiles.arrays import as_result
from nucleist.inference.tiles.grid import Grid
from nucleist.inference.tiles.run import Job, outline_tiles
from nucleist.ops.normalize import FullRange

GRID = Grid(500, 620, 192, 64)


def test_arrays_whose_labels_lie_in_a_file_that_goes_with_them(tmp_path):
    picture = ArrayPicture(on_seams(GRID)[0])
    job = Job(Bright(wobble=1).eval(), FullRange(), 0.5)
    outlines = outline_tiles(job, picture, GRID, tmp_path, Lines())
    result = as_result(outlines)
    np.testing.assert_array_equal(result.labels, outlines.paint(picture.whole))
    assert isinstance(result.labels, np.memmap) and not result.labels.flags.writeable
    assert len(result) == len(result.boxes) == len(result.scores) == result.labels.max()
    for number in (1, len(result)):
        rows, cols = np.nonzero(result.labels == number)
        box = [cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]
        assert result.boxes[number - 1].tolist() == box
    folder = Path(result.labels.filename).parent
    assert folder.exists()
    del result
    assert not folder.exists()
