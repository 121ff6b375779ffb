"""What the network saw and answered, picture beside picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, UInt8
from matplotlib.figure import Figure
from torch import Tensor

from fewshot.data.transforms import CHANNEL_MEAN, CHANNEL_STD
from fewshot.episode import IGNORED, Episode
from fewshot.model.prediction import Prediction
from fewshot.visualisation.figures import PANEL_INCHES, new_figure

_LUMINANCE = (0.299, 0.587, 0.114)
_TINTS = {1: (230, 60, 40), IGNORED: (255, 255, 255)}


@dataclass(frozen=True)
class Panel:
    """One task of an episode as it is drawn.

    Attributes:
        support_image: One of the supports.
        support_mask: Its mask, 0, 1 and 255.
        query_image: The image to segment.
        prediction: The answer.
        prior_map: Prior mask at node size; None where there is none.
        transport_map: Transport map at node size; None where there is none.
        query_mask: The truth; None where it is unknown.
    """

    support_image: UInt8[Tensor, "support_height support_width 3"]
    support_mask: UInt8[Tensor, "support_height support_width"]
    query_image: UInt8[Tensor, "height width 3"]
    prediction: UInt8[Tensor, "height width"]
    prior_map: Float[Tensor, "h w"] | None = None
    transport_map: Float[Tensor, "h w"] | None = None
    query_mask: UInt8[Tensor, "height width"] | None = None


def take_panel(episode: Episode, prediction: Prediction, *, task: int = 0, shot: int = 0) -> Panel:
    """Take one task of a batch, and one of its supports, for drawing."""

    def pick(maps: Tensor | None) -> Tensor | None:
        return None if maps is None else maps[task].detach().cpu()

    truth = pick(episode.query_mask)
    return Panel(
        support_image=restore_colours(episode.support_images[task, shot]),
        support_mask=episode.support_masks[task, shot].to(torch.uint8).cpu(),
        query_image=restore_colours(episode.query_image[task]),
        prediction=prediction.mask[task].to(torch.uint8).cpu(),
        prior_map=pick(prediction.prior_map),
        transport_map=pick(prediction.transport_map),
        query_mask=None if truth is None else truth.to(torch.uint8),
    )


def restore_colours(image: Float[Tensor, "3 height width"]) -> UInt8[Tensor, "height width 3"]:
    """Undo the normalisation that the backbone expects."""
    mean, std = torch.tensor(CHANNEL_MEAN).view(3, 1, 1), torch.tensor(CHANNEL_STD).view(3, 1, 1)
    colours = (image.detach().cpu().float() * std + mean) * 255
    return colours.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0)


def overlay_mask(
    image: UInt8[Tensor, "height width 3"],
    mask: UInt8[Tensor, "height width"] | Bool[Tensor, "height width"],
    *,
    opacity: float = 0.5,
) -> UInt8[Tensor, "height width 3"]:
    """Tint the object (label 1 or True) of an image, whiten what is unknown (255), and turn the rest grey.

    Without the grey a red object of the image would pass for a tinted one.

    Args:
        image: RGB.
        mask: What to tint.
        opacity: Of the tint; at 1 it hides what is under it.
    """
    luminance = (image.float() @ torch.tensor(_LUMINANCE)).unsqueeze(-1).expand(image.shape)
    labels = mask.to(torch.uint8).unsqueeze(-1)
    tinted = luminance
    for value, colour in _TINTS.items():
        tinted = torch.where(labels == value, (1 - opacity) * image.float() + opacity * torch.tensor(colour), tinted)
    return tinted.round().to(torch.uint8)


def draw_panels(panels: Sequence[Panel]) -> Figure:
    """Draw a grid, one row per task: support, query, prior, transport map, prediction, truth.

    Columns that no task fills (a network without prior, queries without truth) are left out.

    Raises:
        ValueError: There is nothing to draw.
    """
    if not panels:
        raise ValueError("`panels` must hold at least one task. Found none. Pass what `take_panel` returns.")
    rows = [_columns(panel) for panel in panels]
    titles = [title for title in rows[0] if any(row[title] is not None for row in rows)]
    figure = new_figure(PANEL_INCHES * len(titles), PANEL_INCHES * len(rows) + 0.3)
    grid = figure.subplots(len(rows), len(titles), squeeze=False)
    for row, images in enumerate(rows):
        for column, title in enumerate(titles):
            axes, image = grid[row][column], images[title]
            axes.set_axis_off()
            if row == 0:
                axes.set_title(title, fontsize=9)
            if image is not None:
                axes.imshow(image.numpy(), cmap="viridis", vmin=0)
    return figure


def _columns(panel: Panel) -> dict[str, Tensor | None]:
    truth = panel.query_mask
    return {
        "support": overlay_mask(panel.support_image, panel.support_mask),
        "query": panel.query_image,
        "prior": panel.prior_map,
        "transport": panel.transport_map,
        "prediction": overlay_mask(panel.query_image, panel.prediction),
        "truth": None if truth is None else overlay_mask(panel.query_image, truth),
    }
