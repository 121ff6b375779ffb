"""The page as a whole: examples on the left, the photograph to search on the right, the answer below."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nicegui import run, ui
from PIL import Image

from fewshot.page.answer import answer_query
from fewshot.page.canvas import Canvas, Toolbar, encode_url, limit_height
from fewshot.page.mass import find_scale
from fewshot.page.photograph import Photograph, load_example
from fewshot.page.results import MassSlider, Results
from fewshot.page.uploads import DropZone, Problem
from fewshot.segmenter import Segmenter

MAX_EXAMPLES = 5
_STYLE = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Workshop:
    """What all who have the page open share.

    Attributes:
        segmenter: The network.
        name: Of its checkpoint.
        example: Folder with an example, as `fewshot demo` leaves one; None where there is none.
        turn: Held by whoever's photographs are being looked at: one at a time.
    """

    segmenter: Segmenter
    name: str
    example: Path | None
    turn: asyncio.Lock


class Page:
    """One open page and what its visitor has put on it.

    Args:
        workshop: What is shared with the others.
    """

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._canvases: list[Canvas] = []
        self._query: Photograph | None = None
        self._asked = self._answering = False
        ui.add_css(_STYLE)
        ui.colors(primary="#0072b2")
        _draw_header(workshop, self._load_example)
        with ui.column().classes("fs-page"):
            self._problem = Problem()
            with ui.element("div").classes("fs-question"):
                with ui.card().classes("fs-card"):
                    self._draw_examples()
                with ui.card().classes("fs-card"):
                    self._draw_query()
            with ui.card().classes("fs-card"):
                self._draw_answer()

    def _draw_examples(self) -> None:
        ui.label("1 · What to look for").classes("fs-title")
        self._examples_drop = DropZone(
            f"Drop a photograph of it here, up to {MAX_EXAMPLES}", self._add_example, self._problem, name="examples"
        )
        self._tools = ui.column().classes("w-full")
        with self._tools:
            self._toolbar = Toolbar()
        self._examples = ui.element("div").classes("fs-canvases")
        self._tools.set_visibility(False)

    def _draw_query(self) -> None:
        ui.label("2 · Where to look").classes("fs-title")
        DropZone("Drop the photograph to search here", self._set_query, self._problem, name="query")
        self._query_image = ui.interactive_image().classes("fs-canvas fs-still").props("data-testid=query-picture")
        self._query_image.set_visibility(False)

    def _draw_answer(self) -> None:
        with ui.row().classes("w-full items-center"):
            ui.label("3 · What is found").classes("fs-title grow")
            self._spinner = ui.spinner(size="sm").props("data-testid=busy")
            self._spinner.set_visibility(False)
        scale = find_scale(self._workshop.segmenter.model.config)
        self._slider = None if scale is None else MassSlider(scale, self._ask)
        self._results = Results()
        self._results.wait(_find_missing(shown=False, marked=False))

    async def _add_example(self, photograph: Photograph, mask: Image.Image | None = None) -> None:
        with self._examples:
            canvas = Canvas(photograph, self._toolbar, on_change=self._ask, on_remove=self._remove_example, ground=mask)
        self._canvases.append(canvas)
        self._count_examples()
        await self._ask()

    async def _remove_example(self, canvas: Canvas) -> None:
        self._canvases.remove(canvas)
        canvas.card.delete()
        self._count_examples()
        await self._ask()

    def _count_examples(self) -> None:
        self._tools.set_visibility(bool(self._canvases))
        self._examples_drop.upload.set_visibility(len(self._canvases) < MAX_EXAMPLES)

    async def _set_query(self, photograph: Photograph) -> None:
        self._query = photograph
        self._query_image.set_source(encode_url(photograph.image, "jpeg"))
        limit_height(self._query_image, photograph)
        self._query_image.set_visibility(True)
        await self._ask()

    async def _load_example(self) -> None:
        """Put the example of the demonstration on the page, in place of whatever is there."""
        if self._workshop.example is None:
            return
        try:
            support, mask, query = load_example(self._workshop.example)
        except ValueError as error:
            self._problem.say(str(error))
            return
        for canvas in self._canvases:
            canvas.card.delete()
        self._canvases.clear()
        await self._set_query(query)
        await self._add_example(support, mask)

    async def _ask(self) -> None:
        """Answer anew; what changes meanwhile is answered in one go afterwards, so that nothing queues up."""
        self._asked = True
        if self._answering:
            return
        self._answering = True
        self._spinner.set_visibility(True)
        try:
            while self._asked:
                self._asked = False
                await self._answer()
        finally:
            self._answering = False
            self._spinner.set_visibility(False)

    async def _answer(self) -> None:
        masks = [(canvas.photograph, canvas.mask) for canvas in self._canvases]
        marked = [(photograph, mask) for photograph, mask in masks if mask.getbbox() is not None]
        query, mass = self._query, None if self._slider is None else self._slider.mass
        if query is None or not marked:
            self._results.wait(_find_missing(shown=bool(masks), marked=bool(marked)))
            return
        try:
            async with self._workshop.turn:
                answer = await run.io_bound(answer_query, self._workshop.segmenter, query, marked, mass=mass)
        except ValueError as error:
            self._problem.say(str(error))
            return
        # Neither where the server stops nor where the visitor has left meanwhile.
        if answer is not None and not self._spinner.is_deleted:
            self._results.show(answer, query.name)


def _find_missing(*, shown: bool, marked: bool) -> str:
    """Say what is to be done next for there to be an answer."""
    if not shown:
        return "Drop a photograph of the thing on the left, then mark it there."
    return "Drop the photograph to search on the right." if marked else "Draw a box around the thing, or brush over it."


def _draw_header(workshop: Workshop, load_example: Callable[[], object]) -> None:
    with ui.header().classes("fs-header"):
        ui.label("fewshot").classes("text-lg font-semibold")
        ui.label("Show it a thing in one photograph; it finds the same kind of thing in another.").classes("grow")
        if workshop.example is not None:
            ui.button("Load an example", icon="photo_library", on_click=load_example).props(
                "flat no-caps color=white data-testid=load-example"
            )
        ui.label(workshop.name).classes("text-xs opacity-80").tooltip("the checkpoint in use")
