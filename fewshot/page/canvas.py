"""Photographs that are drawn on, and the tools for it."""

from base64 import b64encode
from collections.abc import Awaitable, Callable
from io import BytesIO
from typing import Literal, cast

from nicegui import events, ui
from PIL import Image

from fewshot.page.drawing import Drawing, Easel, Mark, Tool, tint_mask
from fewshot.page.photograph import Photograph

_OPACITY = 0.5
_HEX = "#e63c28"
_HIGHEST = 420
"""Pixels of the screen."""
_POINTER = ("pointerdown", "pointermove", "pointerup", "pointercancel")
_CAPTURE = "(event) => event.target.setPointerCapture(event.pointerId)"
"""A gesture that leaves the photograph goes on until the button is released."""
_TOOLS: dict[Tool, str] = {"box": "Box", "brush": "Brush", "eraser": "Eraser"}


class Toolbar:
    """The choice of tool and of its width."""

    def __init__(self) -> None:
        with ui.row().classes("items-center gap-4 w-full no-wrap"):
            self._tool = ui.toggle(_TOOLS, value="box").props(
                "no-caps unelevated padding='xs md' color=grey-3 text-color=grey-9 toggle-color=primary"
            )
            ui.label("Width").classes("text-sm text-gray-600")
            self._width = ui.slider(min=1, max=20, value=6).classes("grow").props('aria-label="Width of the brush"')
            self._width.tooltip("of brush and eraser, in hundredths of the photograph's longer side")

    @property
    def tool(self) -> Tool:
        """What is drawn with."""
        return cast(Tool, self._tool.value)

    def measure_width(self, size: tuple[int, int]) -> float:
        """Give the width of a stroke in pixels of a photograph."""
        return (self._width.value or 0) / 100 * max(size)


class Canvas:
    """One photograph that is drawn on, with its buttons.

    Args:
        photograph: What to draw on.
        toolbar: What it is drawn with.
        on_change: Called whenever the mask has become another one.
        on_remove: Called when the photograph is to go.
        ground: Mask that is there to begin with.
    """

    def __init__(
        self,
        photograph: Photograph,
        toolbar: Toolbar,
        *,
        on_change: Callable[[], Awaitable[None]],
        on_remove: Callable[["Canvas"], Awaitable[None]],
        ground: Image.Image | None = None,
    ) -> None:
        self.photograph = photograph
        self._toolbar, self._on_change = toolbar, on_change
        self._easel = Easel(Drawing(photograph.image.size, ground=ground))
        with ui.column().classes("gap-1 w-full") as self.card:
            self._image = ui.interactive_image(
                encode_url(photograph.image, "jpeg"), events=[*_POINTER], on_mouse=self._follow, sanitize=False
            )
            limit_height(self._image, photograph)
            self._image.classes("fs-canvas").props("data-testid=canvas").on("pointerdown", js_handler=_CAPTURE)
            with ui.row().classes("w-full items-center gap-1"):
                ui.label(photograph.name).classes("grow text-xs text-gray-500 ellipsis")
                for icon, text, action in (
                    ("undo", "Undo", self._undo),
                    ("layers_clear", "Clear", self._clear),
                    ("delete_outline", "Remove", lambda: on_remove(self)),
                ):
                    ui.button(text, icon=icon, on_click=action).props("flat dense no-caps size=sm color=grey-8")
        self._show()

    @property
    def mask(self) -> Image.Image:
        """What is marked, 255 on the object."""
        return self._easel.drawing.rasterise()

    async def _follow(self, event: events.MouseEventArguments) -> None:
        """Draw as the pointer goes. A release that never arrived shows in the next movement."""
        point, drawing = (float(event.image_x), float(event.image_y)), self._easel.gesture is not None
        if event.type == "pointerdown" and event.button == 0:
            width = self._toolbar.measure_width(self._easel.drawing.size)
            self._easel.press(self._toolbar.tool, point, width=width)
        elif drawing and event.type == "pointermove" and event.buttons:
            self._easel.move(point)
        elif drawing:
            await self._change(released=True)
            return
        if self._easel.gesture is not None:
            self._image.set_content(self._mask_layer + draw_gesture(self._easel.gesture))

    async def _undo(self) -> None:
        self._easel.drawing = self._easel.drawing.undo()
        await self._change()

    async def _clear(self) -> None:
        self._easel.drawing = self._easel.drawing.clear()
        await self._change()

    async def _change(self, *, released: bool = False) -> None:
        changed = self._easel.release() or not released
        self._show()
        if changed:
            await self._on_change()

    def _show(self) -> None:
        width, height = self._easel.drawing.size
        picture = encode_url(tint_mask(self.mask), "png")
        self._mask_layer = f'<image href="{picture}" width="{width}" height="{height}"/>'
        self._image.set_content(self._mask_layer)


def draw_gesture(mark: Mark) -> str:
    """Draw what is under way as SVG over the photograph: a frame, or the path of the brush."""
    if mark.tool == "box":
        (x0, y0), (x1, y1) = mark.points[0], mark.points[-1]
        place = f'x="{min(x0, x1):.2f}" y="{min(y0, y1):.2f}" width="{abs(x1 - x0):.2f}" height="{abs(y1 - y0):.2f}"'
        line = 'stroke="white" stroke-width="1.5" vector-effect="non-scaling-stroke"'
        return f'<rect {place} fill="{_HEX}" fill-opacity="0.4" {line}/>'
    # A path of one point is seen too if it has a second one in the same place.
    points = " ".join(f"{x:.2f},{y:.2f}" for x, y in (mark.points[0], *mark.points))
    colour = _HEX if mark.tool == "brush" else "white"
    style = f'fill="none" stroke="{colour}" stroke-opacity="{_OPACITY}" stroke-linecap="round" stroke-linejoin="round"'
    return f'<polyline points="{points}" stroke-width="{mark.width:.2f}" {style}/>'


def limit_height(element: ui.interactive_image, photograph: Photograph) -> None:
    """Let two photographs side by side, and the answer below them, be seen without scrolling far."""
    width, height = photograph.image.size
    element.style(f"max-width: {_HIGHEST * width / height:.0f}px")


def encode_url(image: Image.Image, form: Literal["jpeg", "png"]) -> str:
    """Give a picture as the address that holds it, so that nothing is written or fetched."""
    content = BytesIO()
    image.save(content, format=form, **({"quality": 90} if form == "jpeg" else {}))
    return f"data:image/{form};base64,{b64encode(content.getvalue()).decode()}"
