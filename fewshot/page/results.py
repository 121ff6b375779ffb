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
            ui.label("M").classes("text-lg italic").tooltip("the mass that the transport moves")
            self._slider = ui.slider(
                min=scale.least, max=scale.most, step=_STEP, value=scale.usual, on_change=self._moved
            )
            self._slider.classes("grow").props('data-testid=mass aria-label="Mass M"')
            self._label = ui.label().classes("text-sm min-w-64").props("data-testid=mass-text")
            ui.button("as trained", on_click=self._reset).props("flat dense no-caps size=sm")
        self._say()

    @property
    def mass(self) -> float | None:
        """What is chosen; None where it is what the network was trained with."""
        return None if self._slider.value == self._scale.usual else self._slider.value

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
        self._hint = ui.label("Mark an object on the left and drop a photograph on the right.").classes("fs-hint")
        with ui.column().classes("w-full gap-4") as self._body:
            with ui.row().classes("w-full items-center"):
                self._summary = ui.label().classes("grow text-sm").props("data-testid=summary")
                for text, what in (("Save mask", "mask"), ("Save overlay", "overlay")):
                    ui.button(text, icon="download", on_click=lambda what=what: self._save(what)).props(
                        "outline dense no-caps padding='xs md'"
                    )
            with ui.element("div").classes("fs-pictures"):
                self._overlay = _Picture("overlay", "What was found", "the object tinted, the rest grey")
                self._transport = _Picture("transport", "Transport map", "how much of the object's mass arrives where")
                self._prior = _Picture("prior", "Prior", "how much each place looks like the best match in the example")
            self._matching = _Picture(
                "matching", "Matching", "where the mass of the object goes: the 40 heaviest lines, as the network saw both"
            )
        self._body.set_visibility(False)

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

    def clear(self) -> None:
        """Show nothing: there is no question, or no answer to it yet."""
        self._answer = None
        self._hint.set_visibility(True)
        self._body.set_visibility(False)

    def _save(self, what: str) -> None:
        if self._answer is not None:
            content = self._answer.encode_mask() if what == "mask" else self._answer.overlay
            ui.download.content(content, f"{self._name}_{what}.png", "image/png")


class _Picture:
    """One picture with its caption, gone where there is none."""

    def __init__(self, name: str, title: str, caption: str) -> None:
        with ui.element("figure").classes("fs-figure") as self._figure:
            self._image = ui.interactive_image().classes("w-full").props(f"data-testid={name}")
            with ui.element("figcaption"):
                ui.label(title).classes("font-medium")
                ui.label(caption).classes("text-xs text-gray-500")

    def show(self, content: bytes | None) -> None:
        self._figure.set_visibility(content is not None)
        if content is not None:
            self._image.set_source(f"data:image/png;base64,{b64encode(content).decode()}")


def describe(answer: Answer) -> str:
    """Say in a line what was found and how much was moved."""
    text = f"The object takes {answer.share:.1%} of the photograph."
    if answer.moved is None or answer.grid is None:
        return text
    rows, columns = answer.grid
    return f"{text} Moved: {answer.moved:.1f} nodes’ worth of each example, onto a grid of {columns} × {rows} nodes."
