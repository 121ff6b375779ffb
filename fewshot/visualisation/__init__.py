"""Pictures of what the network saw and answered, and of how it was trained."""

from fewshot.visualisation.charts import draw_loss, draw_scores
from fewshot.visualisation.figures import save_figure
from fewshot.visualisation.matching import draw_matching, find_matches
from fewshot.visualisation.panels import Panel, draw_panels, overlay_mask, restore_colours, take_panel

__all__ = [
    "Panel",
    "draw_loss",
    "draw_matching",
    "draw_panels",
    "draw_scores",
    "find_matches",
    "overlay_mask",
    "restore_colours",
    "save_figure",
    "take_panel",
]
