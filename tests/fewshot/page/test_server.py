"""What the server takes and whom it answers; that it serves the page is tested in a browser."""

import asyncio
import socket
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from fewshot.page.server import Address, LimitedBody, serve_page
from fewshot.segmenter import Segmenter

LIMIT = 100


async def count(request: Request) -> PlainTextResponse:
    """Answer with the number of bytes that arrived."""
    return PlainTextResponse(str(len(await request.body())))


def post(content: object) -> httpx.Response:
    inner = Starlette(routes=[Route("/", count, methods=["POST"])])

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(LimitedBody(inner, limit=LIMIT))
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.post("/", content=content)  # pyright: ignore[reportArgumentType]

    return asyncio.run(send())


def test_requests_up_to_the_limit_are_answered() -> None:
    response = post(bytes(LIMIT))
    assert (response.status_code, response.text) == (200, str(LIMIT))


def test_requests_beyond_the_limit_are_refused() -> None:
    assert post(bytes(LIMIT + 1)).status_code == 413


def test_requests_that_do_not_say_how_large_they_are_are_refused() -> None:
    async def pieces():
        yield b"a"

    assert post(pieces()).status_code == 413


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "::1"])
def test_addresses_of_this_machine_alone_are_private(host: str) -> None:
    assert Address(host, 80).private


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "workstation.example"])
def test_addresses_that_others_reach_are_not(host: str) -> None:
    assert not Address(host, 80).private


def test_an_address_is_written_as_browsers_want_it() -> None:
    assert Address("127.0.0.1", 8080).url == "http://127.0.0.1:8080"
    assert Address("::1", 8080).url == "http://[::1]:8080"


def test_a_port_that_is_taken_is_refused(segmenter: Segmenter, checkpoint: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = rf"Found that 127\.0\.0\.1:{port} cannot be listened at \(.+\)\. Stop what is listening there"
        with pytest.raises(ValueError, match=message):
            serve_page(segmenter, checkpoint, Address("127.0.0.1", port), show=False)


def test_a_host_that_is_not_this_machine_is_refused(segmenter: Segmenter, checkpoint: Path) -> None:
    # 192.0.2.0/24 is set aside for documentation (RFC 5737): no machine has such an address.
    with pytest.raises(ValueError, match=r"Found that 192\.0\.2\.1:8080 .* or choose another port"):
        serve_page(segmenter, checkpoint, Address("192.0.2.1", 8080), show=False)


@pytest.mark.parametrize("port", [0, 65_536])
def test_a_port_that_no_machine_has_is_refused(port: int) -> None:
    with pytest.raises(ValueError, match=rf"Found `port = {port}`\. Choose one above 1023 that is free"):
        Address("127.0.0.1", port)
