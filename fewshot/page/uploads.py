"""Where photographs are dropped, and what is said of those that cannot be used."""

from collections.abc import Awaitable, Callable

from nicegui import events, run, ui

from fewshot.data.reading import UnreadableImageError
from fewshot.page.photograph import MAX_BYTES, Photograph, explain_refusal, read_photograph

_NAME_AND_SIZE = "(refused) => emit(refused.map(({file}) => [file.size, file.name]))"
"""What is too large stays in the browser; of it come only the size and the name."""


class Problem:
    """A line in red that says why something was refused, until it is put away or the next thing succeeds."""

    def __init__(self) -> None:
        with ui.row().classes("fs-problem").props("role=alert") as self._row:
            ui.icon("error_outline", size="sm")
            self._label = ui.label().classes("grow")
            ui.button(icon="close", on_click=self.clear).props("flat dense round color=white aria-label=Dismiss")
        self.clear()

    def say(self, text: str) -> None:
        """Show a refusal."""
        self._label.set_text(text)
        self._row.set_visibility(True)

    def clear(self) -> None:
        """Put it away."""
        self._row.set_visibility(False)


class DropZone:
    """Takes one photograph after the other, by dropping or by choosing a file.

    Args:
        label: What to drop here.
        take: What becomes of a photograph.
        problem: Where refusals are shown.
        name: Of the field, for those who cannot see the page.
    """

    def __init__(
        self, label: str, take: Callable[[Photograph], Awaitable[None]], problem: Problem, *, name: str
    ) -> None:
        self._take, self._problem = take, problem
        self.upload = ui.upload(label=label, auto_upload=True, max_file_size=MAX_BYTES, on_upload=self._receive)
        self.upload.props(f'flat bordered accept="image/jpeg,image/png" data-testid={name}').classes("fs-drop")
        self.upload.on("rejected", self._refuse, js_handler=_NAME_AND_SIZE)

    async def _receive(self, event: events.UploadEventArguments) -> None:
        self.upload.reset()
        try:
            content = await event.file.read()
            photograph = await run.io_bound(read_photograph, content, event.file.name)
        except UnreadableImageError as error:
            self._problem.say(str(error))
            return
        if photograph is not None:
            self._problem.clear()
            await self._take(photograph)

    def _refuse(self, event: events.GenericEventArguments) -> None:
        refused: list[tuple[int, str]] = event.args
        size, name = refused[0]
        self._problem.say(explain_refusal(size, name))
