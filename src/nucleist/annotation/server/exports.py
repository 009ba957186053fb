"""An image's annotation as a file that the browser saves."""

import tempfile
from pathlib import Path
from urllib.parse import quote

from nucleist.annotation import geometry
from nucleist.annotation.fiji import write_zip
from nucleist.annotation.session import Session
from nucleist.annotation.store import to_geojson
from nucleist.data.formats.label_maps import write_label_map
from nucleist.data.outlines import compose
from nucleist.types import UserError

KINDS = {"geojson": ".geojson", "fiji": "_rois.zip", "labels": "_labels.tif"}
"""What can be saved, and the ending of the file."""


def export(session: Session, index: int, kind: str) -> tuple[bytes, str]:
    """The labelled nuclei of an image, without proposals.

    Args:
        session: The folder.
        index: Number of the image.
        kind: `geojson` for QuPath, `fiji` for its ROI manager, `labels` for a label TIFF.

    Returns:
        Content and name of the file, the name as it is written in a header.

    Raises:
        UserError: If there is no such image or kind.
    """
    if kind not in KINDS:
        raise UserError(f"there is no export {kind!r}; use one of {', '.join(KINDS)}")
    picture = session.picture(index)
    name = session.pairs[index].id + KINDS[kind]
    with picture.lock, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "export.tif"
        things = list(picture.things.values())
        if kind == "geojson":
            data = to_geojson(things, picture.revision, picture.image, picture.size, whole=False)
            return data, quote(name)
        if kind == "fiji":
            write_zip(picture, path, least=2)  # above any score: no proposals
        else:
            nuclei = sorted((one for one in things if one.is_label), key=lambda one: one.id)
            shapes = [
                geometry.shape_of(n.anchors, picture.size, i) for i, n in enumerate(nuclei, 1)
            ]
            labels, _ = compose(picture.size, [shape for shape in shapes if shape])
            write_label_map(path, labels)
        return path.read_bytes(), quote(name)
