"""How an answer is shown: the object found, the maps, the lines of the matching, and what can be saved."""

from base64 import b64encode
from collections.abc import Awaitable, Callable
from pathlib import Path

from nicegui import ui

from fewshot.page.answer import Answer
from fewshot.page.mass import MassScale

_STEP = 0.05


class MassSlider:
    """The mass M: how much the transport moves.

    Args:
        scale: Its unit and ends.
        on_change: Called when it is moved.
    """

    def __init__(self, scale: MassScale, on_change: Callable[[], Awaitable[None]]) -> None:
        self._scale, self._on_change = scale, on_change
        with ui.row().classes("w-full items-center gap-4 no-wrap"):
            ui.label("Mass M").classes("whitespace-nowrap").tooltip("how much the transport moves from the example")
            self._slider = ui.slider(
                min=scale.least, max=scale.most, step=_STEP, value=scale.usual, on_change=self._moved
            )
            self._slider.classes("grow").props('data-testid=mass aria-label="Mass M"')
            self._label = ui.label().classes("text-sm whitespace-nowrap").props("data-testid=mass-text")
            ui.button("as trained", on_click=self._reset).props("flat dense no-caps no-wrap padding='xs sm'")
        self._say()

    @property
    def mass(self) -> float | None:
        """What is chosen; None where it is what the network was trained with."""
        value = self._slider.value
        return None if value is None or value == self._scale.usual else float(value)

    def _reset(self) -> None:
        self._slider.set_value(self._scale.usual)

    async def _moved(self) -> None:
        self._say()
        await self._on_change()

    def _say(self) -> None:
        self._label.set_text(f"{self._slider.value:.2f} {self._scale.unit}")


class Results:
    """The pictures of the latest answer."""

    def __init__(self) -> None:
        self._answer: Answer | None = None
        self._name = ""
        self._hint = ui.label().classes("fs-hint").props("data-testid=hint")
        with ui.column().classes("w-full gap-4") as self._body:
            with ui.row().classes("w-full items-center"):
                self._summary = ui.label().classes("grow").props("data-testid=summary")
                self._draw_button("Save mask", self._save_mask)
                self._draw_button("Save overlay", self._save_overlay)
            with ui.element("div").classes("fs-pictures"):
                self._overlay = _Picture("overlay", "What was found", "the object tinted, the rest grey")
                self._transport = _Picture("transport", "Transport map", "where the object’s mass goes; bright is much")
                self._prior = _Picture("prior", "Prior", "how well the best match in the example fits; bright is well")
            self._matching = _Picture(
                "matching",
                "Matching",
                "each place on the object and where most of its mass goes, as the network sees it",
            )

    @staticmethod
    def _draw_button(text: str, action: Callable[[], None]) -> None:
        ui.button(text, icon="download", on_click=action).props("outline dense no-caps padding='xs md'")

    def show(self, answer: Answer, name: str) -> None:
        """Show an answer.

        Args:
            answer: What was found.
            name: Of the file in which it was.
        """
        self._answer, self._name = answer, Path(name).stem
        self._summary.set_text(describe(answer))
        self._overlay.show(answer.overlay)
        self._transport.show(answer.transport)
        self._prior.show(answer.prior)
        self._matching.show(answer.matching)
        self._hint.set_visibility(False)
        self._body.set_visibility(True)

    def wait(self, hint: str) -> None:
        """Show no answer, but what is still missing for one."""
        self._answer = None
        self._hint.set_text(hint)
        self._hint.set_visibility(True)
        self._body.set_visibility(False)

    def _save_mask(self) -> None:
        if self._answer is not None:
            ui.download.content(self._answer.encode_mask(), f"{self._name}_mask.png", "image/png")

    def _save_overlay(self) -> None:
        if self._answer is not None:
            ui.download.content(self._answer.overlay, f"{self._name}_overlay.png", "image/png")


class _Picture:
    """One picture with its caption, gone where there is none."""

    def __init__(self, name: str, title: str, caption: str) -> None:
        with ui.element("figure").classes("fs-figure") as self._figure:
            self._image = ui.interactive_image().classes("fs-shown").props(f"data-testid={name}")
            with ui.element("figcaption"):
                ui.label(title).classes("font-medium")
                ui.label(caption).classes("text-xs text-gray-500")

    def show(self, content: bytes | None) -> None:
        self._figure.set_visibility(content is not None)
        if content is not None:
            self._image.set_source(f"data:image/png;base64,{b64encode(content).decode()}")


def describe(answer: Answer) -> str:
    """Say in a line what was found and how much was moved."""
    text = f"The object takes {answer.share:.1%} of the photograph." if answer.share else "Nothing was found."
    if answer.moved is None or answer.grid is None:
        return text
    rows, columns = answer.grid
    return f"{text} Moved: {answer.moved:.1f} nodes’ worth of each example, onto a grid of {columns} × {rows} nodes."
