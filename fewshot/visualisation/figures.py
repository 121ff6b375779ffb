"""Figures without global state, by the object interface of matplotlib, and pictures as files."""

from io import BytesIO
from pathlib import Path

from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from fewshot.data.storage import write_whole

PANEL_INCHES = 1.6
"""Width of one picture in a grid."""
FONT_SIZE = 9
"""Points; the smallest that is still read when a wide figure is shown at two thirds of its size."""
SMALL_FONT_SIZE = 8
PIXELS_PER_INCH = 150
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#666666")
"""Told apart by colour-blind readers too (Okabe and Ito, 2008, Color Universal Design)."""


def new_figure(width: float, height: float) -> Figure:
    """Make a figure of so many inches that no global state knows of."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def encode_figure(figure: Figure) -> bytes:
    """Give a figure as the bytes of a PNG file."""
    content = BytesIO()
    figure.savefig(content, format="png", dpi=PIXELS_PER_INCH)
    return content.getvalue()


def encode_picture(pixels: UInt8[Tensor, "height width 3"] | UInt8[Tensor, "height width"]) -> bytes:
    """Give colours, or grey values, as the bytes of a PNG file with as many pixels."""
    content = BytesIO()
    Image.fromarray(pixels.contiguous().numpy()).save(content, format="png")
    return content.getvalue()


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG; the file appears when it is complete, and missing folders are made."""
    write_whole(path, encode_figure(figure))


def save_picture(pixels: UInt8[Tensor, "height width 3"] | UInt8[Tensor, "height width"], path: Path) -> None:
    """Write colours, or grey values, as PNG, in the same way."""
    write_whole(path, encode_picture(pixels))


def tidy_axes(axes: Axes) -> None:
    """Leave of a chart's frame what is read: two spines, small numbers, a pale grid behind."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=SMALL_FONT_SIZE)
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
