"""Everything that draws from arrays: overlays of nuclei, panels, heat maps, curves of scores."""

from nucleist.plots.crossed import save_crossed_curves
from nucleist.plots.curves import save_curves, save_threshold_curves
from nucleist.plots.label_curves import save_label_curves
from nucleist.plots.overlay import (
    LabelledImage,
    contact_sheet,
    draw_contours,
    overlay_panel,
    save_overlays,
    to_display,
)
from nucleist.plots.panels import Panel, heat_map, save_panels
from nucleist.plots.shape import shape_picture

__all__ = [
    "LabelledImage",
    "Panel",
    "contact_sheet",
    "draw_contours",
    "heat_map",
    "overlay_panel",
    "save_crossed_curves",
    "save_curves",
    "save_label_curves",
    "save_overlays",
    "save_panels",
    "save_threshold_curves",
    "shape_picture",
    "to_display",
]
