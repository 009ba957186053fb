"""Everything that draws from arrays: overlays of nuclei and curves of scores."""

from nucleist.plots.curves import save_curves, save_threshold_curves
from nucleist.plots.overlay import (
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
    "save_curves",
    "save_overlays",
    "save_threshold_curves",
    "to_display",
]
