"""Tiny data sets in the published layouts, with the label maps that must be read from them."""

import json
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

SIZE = 24


def squares() -> np.ndarray:
    """Three nuclei of 24 x 24 pixels: 6 x 5 inside, 4 x 4 cut by the corner, one pixel."""
    labels = np.zeros((SIZE, SIZE), np.int32)
    labels[5:11, 4:9] = 1
    labels[20:, 20:] = 2
    labels[2, 17] = 3
    return labels


def rgb(seed: int = 0, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)


def png(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def pack(folder: Path, archive: Path) -> Path:
    """The folder as a .zip, its own name as the top folder."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for path in sorted(folder.rglob("*")):
            target.write(path, path.relative_to(folder.parent).as_posix())
    return archive


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and ends after its header."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk


def bbbc038(root: Path, count: int = 5, labels: np.ndarray | None = None) -> Path:
    """Images `a0`, `a1`, ... RGBA as published, one 0/255 PNG a nucleus."""
    labels = squares() if labels is None else labels
    for i in range(count):
        name = f"a{i}"
        alpha = np.full((*labels.shape, 1), 255, np.uint8)
        gray = np.repeat(rgb(i, labels.shape[0])[..., :1], 3, axis=2)
        png(root / name / "images" / f"{name}.png", np.concatenate([gray, alpha], 2))
        for nucleus in np.unique(labels[labels > 0]):
            mask = (labels == nucleus).astype(np.uint8) * 255
            png(root / name / "masks" / f"m{nucleus}.png", mask)
    return root


KUMAR_IDS = ("TCGA-A7-A13E-01Z-00-DX1", "TCGA-E2-A1B5-01Z-00-DX1", "TCGA-NH-A8F7-01A-01-TS1")


def box(top: float, left: float, bottom: float, right: float) -> list[tuple[float, float]]:
    """Corners x, y of a half-open box, as an outline."""
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


# The squares above as outlines on pixel edges; the second reaches beyond the image.
OUTLINES = [box(5, 4, 11, 9), box(20, 20, 30, 40), box(2, 17, 3, 18)]


def aperio(outlines: list[list[tuple[float, float]]], attributes: str = "") -> str:
    regions = "".join(
        f'<Region Id="{i}" Type="0" {attributes}><Vertices>'
        + "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in outline)
        + "</Vertices></Region>"
        for i, outline in enumerate(outlines, 1)
    )
    head = '<Annotations MicronsPerPixel="0.25"><Annotation Id="1"><Regions>'
    return f"{head}{regions}</Regions></Annotation></Annotations>"


def kumar(root: Path, ids: tuple[str, ...] = KUMAR_IDS) -> Path:
    """LZW-compressed RGB TIFFs and Aperio outlines."""
    for folder in ("Tissue Images", "Annotations"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(ids):
        path = root / "Tissue Images" / f"{name}.tif"
        tifffile.imwrite(path, rgb(i), compression="lzw", photometric="rgb")
        (root / "Annotations" / f"{name}.xml").write_text(aperio(OUTLINES))
    return root


def tnbc(root: Path, slides: int = 4) -> Path:
    """Two images a slide, binary ground truth."""
    for slide in range(1, slides + 1):
        for k in (1, 2):
            name = f"{slide:02d}_{k}.png"
            png(root / f"Slide_{slide:02d}" / name, rgb(slide))
            truth = (squares() > 0).astype(np.uint8) * 255
            png(root / f"GT_{slide:02d}" / name, truth)
    return root


def coco(images: list[dict], annotations: list[dict]) -> str:
    categories = [{"id": 1, "name": "nucleus"}]
    return json.dumps({"images": images, "annotations": annotations, "categories": categories})


def dh100(root: Path, splits: tuple[str, ...] = ("train", "val", "test")) -> Path:
    """One image a split: the first square as list RLE, the second as a polygon, then a crowd."""
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    for i, split in enumerate(splits):
        png(root / f"{split}2019" / f"{split}_0.png", rgb(i))
        image = {"id": 7, "file_name": f"{split}_0.png", "height": SIZE, "width": SIZE}
        # Column 4, row 5 is the first pixel of nucleus 1: 4 * 24 + 5 = 101 pixels come before.
        counts = [101, 6] + [18, 6] * 4
        counts.append(SIZE * SIZE - sum(counts))
        rle = {"size": [SIZE, SIZE], "counts": counts}
        polygon = [[20, 20, 24, 20, 24, 24, 20, 24]]
        annotations = [
            {"id": 1, "image_id": 7, "category_id": 1, "iscrowd": 0, "segmentation": rle},
            {"id": 2, "image_id": 7, "category_id": 1, "iscrowd": 0, "segmentation": polygon},
            {"id": 3, "image_id": 7, "category_id": 1, "iscrowd": 1, "segmentation": rle},
        ]
        path = root / "annotations" / f"instances_{split}2019.json"
        path.write_text(coco([image], annotations))
    return root


def folder(root: Path, count: int = 5) -> Path:
    """A user's own images with label PNGs beside them; the last has none."""
    for i in range(count):
        png(root / f"image{i}.png", rgb(i))
        if i < count - 1:
            png(root / f"image{i}_labels.png", squares().astype(np.uint16))
    return root
