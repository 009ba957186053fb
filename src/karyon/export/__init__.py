"""What leaves karyon: label TIFFs, pictures of nuclei and curves."""

from karyon.export.curves import save_curves, save_threshold_curves
from karyon.export.label_tiff import read_label_tiff, write_label_tiff
from karyon.export.overlay import (
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
