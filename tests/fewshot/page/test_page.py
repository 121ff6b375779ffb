"""The page by its events, without a browser."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from nicegui import ui
from nicegui.elements.upload_files import SmallFileUpload
from nicegui.testing import User
from nicegui.testing.user_simulation import user_simulation
from PIL import Image

from fewshot.data.fitting import Fit
from fewshot.model import CMNet, CMNetConfig
from fewshot.page.page import MAX_EXAMPLES, Page, Workshop
from fewshot.segmenter import Segmenter


def visit(workshop: Workshop, act: Callable[[User], Awaitable[None]]) -> None:
    """Open the page and do something on it."""

    async def run() -> None:
        async with user_simulation(lambda: Page(workshop)) as user:
            await user.open("/")
            await act(user)

    asyncio.run(run())


async def upload(user: User, number: int, file: Path) -> None:
    """Give a photograph to the first field, that of the examples, or to the second."""
    (field,) = [
        one for one in user.find(ui.upload).elements if one.props["data-testid"] == ("examples", "query")[number]
    ]
    await field.handle_uploads([SmallFileUpload(file.name, "image/png", file.read_bytes())])


@pytest.fixture
def workshop(segmenter: Segmenter) -> Workshop:
    return Workshop(segmenter, "cmnet.safetensors", None, asyncio.Lock())


@pytest.fixture
def example(tmp_path: Path, support: Path, query: Path) -> Path:
    """The folder that `fewshot demo` leaves."""
    (tmp_path / "support.png").write_bytes(support.read_bytes())
    (tmp_path / "query.png").write_bytes(query.read_bytes())
    with Image.open(support) as photograph:
        mask = Image.new("L", photograph.size)
    mask.paste(1, (10, 8, 40, 30))
    mask.save(tmp_path / "support_mask.png")
    return tmp_path


def test_the_example_of_the_demonstration_is_answered_at_a_click(segmenter: Segmenter, example: Path) -> None:
    async def act(user: User) -> None:
        await user.should_see("Drop a photograph of the thing on the left")
        user.find("Load an example").click()
        await user.should_see("nodes’ worth of each example", retries=100)
        await user.should_not_see("Drop a photograph of the thing on the left")

    visit(Workshop(segmenter, "cmnet.safetensors", example, asyncio.Lock()), act)


def test_there_is_nothing_to_click_where_there_is_no_example(workshop: Workshop) -> None:
    async def act(user: User) -> None:
        await user.should_see("cmnet.safetensors")
        await user.should_not_see("Load an example")

    visit(workshop, act)


def test_a_damaged_example_is_refused_with_the_reason(segmenter: Segmenter, example: Path) -> None:
    (example / "query.png").write_bytes(b"")

    async def act(user: User) -> None:
        user.find("Load an example").click()
        await user.should_see("An image must be a JPEG or PNG file. Found something else in")

    visit(Workshop(segmenter, "cmnet.safetensors", example, asyncio.Lock()), act)


def test_no_more_examples_are_taken_than_fit(workshop: Workshop, support: Path) -> None:
    async def act(user: User) -> None:
        for _ in range(MAX_EXAMPLES):
            await user.should_see(f"up to {MAX_EXAMPLES}")
            await upload(user, 0, support)
            await user.should_see("Draw a box around the thing", retries=100)
        await user.should_not_see(f"up to {MAX_EXAMPLES}", retries=100)

    visit(workshop, act)


def test_a_network_without_transport_has_no_slider() -> None:
    network = CMNet(CMNetConfig(backbone="small", width=16, decoder="aspp", transport="none"))

    async def act(user: User) -> None:
        await user.should_see("What is found")
        await user.should_not_see("Mass M")

    visit(Workshop(Segmenter(network, fit=Fit(48)), "cmnet.safetensors", None, asyncio.Lock()), act)
