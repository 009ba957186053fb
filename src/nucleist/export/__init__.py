"""What leaves nucleist: label TIFFs, pictures of nuclei and curves."""

from nucleist.export.curves import save_curves, save_threshold_curves
from nucleist.export.label_tiff import read_label_tiff, write_label_tiff
from nucleist.export.overlay import (
    LabelledImage,
    contact_sheet,
    draw_contours,
    overlay_panel,
    save_overlays,
    to_display,
)

__all__ = [
    "LabelledImage",
    "contact_sheet",
    "draw_contours",
    "overlay_panel",
    "read_label_tiff",
    "save_curves",
    "save_overlays",
    "save_threshold_curves",
    "to_display",
    "write_label_tiff",
]
