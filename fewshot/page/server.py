"""The server of the page: which addresses it answers, how much it takes, and that it keeps nothing."""

import asyncio
import logging
import socket
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from nicegui import app, ui
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartParser
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from fewshot.page.page import Page, Workshop
from fewshot.page.photograph import MAX_BYTES
from fewshot.segmenter import Segmenter

_FORM_BYTES = 10_000
"""What a form adds to the file in it."""
_REMEMBERED_MESSAGES = 20
"""Kept for a page whose connection broke for a moment; each may hold a picture."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Address:
    """Where the page is to be had.

    Attributes:
        host: Name or address of this machine that is listened at.
        port: Number of the port.
    """

    host: str
    port: int

    def __post_init__(self) -> None:
        """Refuse ports that no machine has."""
        if not 0 < self.port < 2**16:
            raise ValueError(
                f"`--port` must lie in [1, 65535]. Found `port = {self.port}`. Choose one above 1023 that is free."
            )

    @property
    def url(self) -> str:
        """What to type into a browser."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def private(self) -> bool:
        """Whether nobody but those on this machine can reach it."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


class LimitedBody:
    """Refuses requests before they are read that say they are too large, or do not say how large they are.

    Args:
        inner: What answers the others.
        limit: In bytes.
    """

    def __init__(self, inner: ASGIApp, *, limit: int) -> None:
        self._inner, self._limit = inner, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        # A server takes no more of a body than its head has announced.
        length = headers.get("content-length", "0")
        if "transfer-encoding" in headers or not length.isdecimal() or int(length) > self._limit:
            await PlainTextResponse("Too large.", status_code=413)(scope, receive, send)
        else:
            await self._inner(scope, receive, send)


def serve_page(segmenter: Segmenter, checkpoint: Path, address: Address, *, show: bool) -> None:
    """Serve the page until it is interrupted.

    Args:
        segmenter: The network.
        checkpoint: Where it is from; an `example` folder beside it is offered on the page.
        address: Where to listen.
        show: Whether to open a browser.

    Raises:
        ValueError: The address cannot be listened at.
    """
    _check_free(address)
    _limit_requests(address)
    example = checkpoint.parent / "example"
    workshop = Workshop(segmenter, checkpoint.name, example if example.is_dir() else None, asyncio.Lock())
    app.on_startup(lambda: _announce(address))
    ui.run(
        lambda: Page(workshop),
        host=address.host,
        port=address.port,
        title="fewshot",
        show=show,
        reload=False,
        language="en-GB",
        message_history_length=_REMEMBERED_MESSAGES,
        show_welcome_message=False,
    )


def _limit_requests(address: Address) -> None:
    """Bound uploads and keep them in memory; let no other site speak to a page that is private."""
    limit = MAX_BYTES + _FORM_BYTES
    MultiPartParser.spool_max_size = limit
    app.add_middleware(LimitedBody, limit=limit)
    if address.private:
        # Under a name of its own that leads here, a foreign site would pass for this one in a browser.
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=["localhost", address.host])


def _check_free(address: Address) -> None:
    try:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        socket.create_server((address.host, address.port), family=family).close()
    except OSError as error:
        raise ValueError(
            f"`--host` and `--port` must name a free port of this machine. Found that {address.host}:{address.port} "
            f"cannot be listened at ({error}). Stop what is listening there, or choose another port."
        ) from error


def _announce(address: Address) -> None:
    if not address.private:
        _log.warning("Anybody who can reach %s can use this page. There is no password.", address.url)
    _log.info("The page is at %s. Stop it with Ctrl-C.", address.url)
