"""What somebody draws on a photograph to show the object: gestures of the mouse in, a mask out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from PIL import Image, ImageDraw

Tool = Literal["box", "brush", "eraser"]
"""`box` fills a rectangle, `brush` paints along a path, `eraser` takes away along one."""

Point = tuple[float, float]
"""x and y in pixels from the upper left corner of the photograph, whose first pixel reaches from 0 to 1."""

_LEAST_BOX = 0.01
"""Of the longer side: a smaller box is a click that slipped."""
_ON = 255
_TINT = (230, 60, 40, 115)
"""The red of every overlay, and how opaque it is, of 255."""
_VEIL = (128, 128, 128, 150)


@dataclass(frozen=True)
class Mark:
    """One gesture, from the press of the button to its release.

    Attributes:
        tool: What was drawn with.
        points: Where it went; of a box, two opposite corners.
        width: Of the stroke in pixels, at least 1; plays no part for boxes.
    """

    tool: Tool
    points: tuple[Point, ...]
    width: float = 1.0

    def extend(self, point: Point) -> "Mark":
        """Go on to another point, which is the other corner of a box."""
        kept = self.points[:1] if self.tool == "box" else self.points
        return replace(self, points=(*kept, point))


@dataclass(frozen=True)
class Drawing:
    """A mask in the making.

    Attributes:
        size: Width and height of the photograph.
        marks: What was drawn, later marks over earlier ones.
        ground: Mask that was there before, 255 on the object; None for an empty one.
    """

    size: tuple[int, int]
    marks: tuple[Mark, ...] = ()
    ground: Image.Image | None = None

    def add(self, mark: Mark) -> "Drawing":
        """Draw one more mark; a box of next to no size is left out."""
        if mark.tool == "box" and _is_click(mark.points, self.size):
            return self
        return replace(self, marks=(*self.marks, mark))

    def undo(self) -> "Drawing":
        """Take the last mark back, if there is one."""
        return replace(self, marks=self.marks[:-1])

    def clear(self) -> "Drawing":
        """Start anew, without the mask that was there before."""
        return Drawing(self.size)

    def rasterise(self) -> Image.Image:
        """Give the mask: 255 on the object, 0 elsewhere, at the size of the photograph."""
        mask = Image.new("L", self.size) if self.ground is None else self.ground.copy()
        canvas = ImageDraw.Draw(mask)
        for mark in self.marks:
            if mark.tool == "box":
                _fill_box(canvas, mark.points)
            else:
                _paint(canvas, mark, _ON if mark.tool == "brush" else 0)
        return mask


@dataclass
class Easel:
    """A drawing and the gesture that is under way on it.

    Attributes:
        drawing: What is finished.
        gesture: What is being drawn; None between gestures.
    """

    drawing: Drawing
    gesture: Mark | None = None

    def press(self, tool: Tool, point: Point, *, width: float) -> None:
        """Begin to draw; a stroke is at least one pixel wide."""
        self.gesture = Mark(tool, (self._clip(point),), max(1.0, width))

    def move(self, point: Point) -> None:
        """Go on drawing, if that has begun."""
        if self.gesture is not None:
            self.gesture = self.gesture.extend(self._clip(point))

    def release(self) -> bool:
        """Finish the gesture.

        Returns:
            Whether the drawing has become another one.
        """
        before = self.drawing
        if self.gesture is not None:
            self.drawing = before.add(self.gesture)
        self.gesture = None
        return self.drawing is not before

    def _clip(self, point: Point) -> Point:
        """Bring a point that slipped out of the photograph to its border."""
        width, height = self.drawing.size
        return min(max(point[0], 0.0), float(width)), min(max(point[1], 0.0), float(height))


def tint_mask(mask: Image.Image) -> Image.Image:
    """Make a picture to lay over a photograph: red on the object, a grey veil elsewhere; nothing while there is none.

    A tint alone could not be told from a thing of that colour.
    """
    veil = Image.new("RGBA", mask.size, _VEIL if mask.getbbox() else (0, 0, 0, 0))
    veil.paste(_TINT, mask=mask)
    return veil


def _is_click(corners: Sequence[Point], size: tuple[int, int]) -> bool:
    (left, top), (right, bottom) = corners[0], corners[-1]
    return min(abs(right - left), abs(bottom - top)) < _LEAST_BOX * max(size)


def _fill_box(canvas: ImageDraw.ImageDraw, corners: Sequence[Point]) -> None:
    """Fill every pixel that the box reaches into; Pillow's second corner belongs to the rectangle."""
    (left, right), (top, bottom) = (sorted((corners[0][axis], corners[-1][axis])) for axis in (0, 1))
    canvas.rectangle((int(left), int(top), math.ceil(right) - 1, math.ceil(bottom) - 1), fill=_ON)


def _paint(canvas: ImageDraw.ImageDraw, mark: Mark, value: int) -> None:
    """Draw a path with round ends and corners; Pillow counts from the centres of pixels."""
    points = [(x - 0.5, y - 0.5) for x, y in mark.points]
    if len(points) > 1:
        canvas.line(points, fill=value, width=round(mark.width))
    for point in points:
        canvas.circle(point, mark.width / 2 - 0.5, fill=value)
