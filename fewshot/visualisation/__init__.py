"""Pictures of what the network saw and answered, and of how it was trained."""

from fewshot.visualisation.charts import draw_class_scores, draw_differences, draw_scores
from fewshot.visualisation.curves import Curve, draw_loss
from fewshot.visualisation.figures import PIXELS_PER_INCH, encode_figure, encode_picture, save_figure, save_picture
from fewshot.visualisation.grid import draw_grid
from fewshot.visualisation.maps import draw_map, resize_picture
from fewshot.visualisation.matching import Matches, draw_matching, find_matches
from fewshot.visualisation.overlays import overlay_map, overlay_mask, restore_colours
from fewshot.visualisation.panels import Panel, take_panel

__all__ = [
    "PIXELS_PER_INCH",
    "Curve",
    "Matches",
    "Panel",
    "draw_class_scores",
    "draw_differences",
    "draw_grid",
    "draw_loss",
    "draw_map",
    "draw_matching",
    "draw_scores",
    "encode_figure",
    "encode_picture",
    "find_matches",
    "overlay_map",
    "overlay_mask",
    "resize_picture",
    "restore_colours",
    "save_figure",
    "save_picture",
    "take_panel",
]
