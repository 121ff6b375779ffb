"""One map over its image, with the scale that it is read by."""

import torch
from jaxtyping import Float, UInt8
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional

from fewshot.visualisation.figures import FONT_SIZE, PIXELS_PER_INCH, SMALL_FONT_SIZE, new_figure
from fewshot.visualisation.overlays import MAP_COLOURS, overlay_map

_LONGER_INCHES = 5.0


def draw_map(
    image: UInt8[Tensor, "height width 3"], values: Float[Tensor, "height width"], *, label: str, top: float = 1.0
) -> Figure:
    """Draw a map over its grey image.

    Args:
        image: RGB; brought to the size of the figure.
        values: The map at the size of the image, at least 0.
        label: What the map is, printed at its scale.
        top: The value at the upper end of the scale.
    """
    side = round(_LONGER_INCHES * PIXELS_PER_INCH)
    image = resize_picture(image, side)
    height, width = image.shape[:2]
    values = functional.interpolate(values[None, None], (height, width), mode="bilinear", antialias=True)[0, 0]
    unit = _LONGER_INCHES / max(height, width)
    figure = new_figure(max(1.5, unit * width) + 0.9, max(1.5, unit * height))
    axes = figure.subplots()
    axes.imshow(overlay_map(image, values, top=top).numpy())
    axes.set_axis_off()
    bar = figure.colorbar(ScalarMappable(Normalize(0, top), MAP_COLOURS), ax=axes, fraction=0.05, pad=0.02)
    bar.set_label(label, fontsize=FONT_SIZE)
    bar.ax.tick_params(labelsize=SMALL_FONT_SIZE)
    return figure


def resize_picture(image: UInt8[Tensor, "height width 3"], side: int) -> UInt8[Tensor, "rows columns 3"]:
    """Bring the longer side of a picture to `side`, keeping its aspect."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    resized = functional.interpolate(image.permute(2, 0, 1)[None].float(), size, mode="bilinear", antialias=True)
    return resized[0].round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0)
