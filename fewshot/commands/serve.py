"""`fewshot serve`: a page to try a network on, in the browser."""

from importlib.util import find_spec
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from fewshot.demo import WEIGHTS
from fewshot.segmenter import Segmenter

_DEMO = Path("runs/demo") / WEIGHTS
_HERE = "127.0.0.1"


def build_serve_parser() -> ArgumentParser:
    """Make the parser of `fewshot serve`."""
    parser = ArgumentParser(
        description="Draw on one photograph what is meant, and see it found in another.", allow_abbrev=False
    )
    parser.add_argument("--checkpoint", type=Path, default=_DEMO, help="weights, such as every training leaves")
    parser.add_argument("--device", type=str, default="auto", help="where the network runs: auto, cpu, cuda, cuda:1")
    parser.add_argument("--host", type=str, default=_HERE, help="address to listen at; others than this let others in")
    parser.add_argument("--port", type=int, default=8080, help="port to listen at")
    parser.add_argument("--show", type=bool, default=False, help="open the page in a browser")
    return parser


def serve_network(options: Namespace, _command: str) -> str:
    """Serve the page until it is interrupted.

    Args:
        options: As `build_serve_parser` parses them, instantiated or not.

    Raises:
        ValueError: NiceGUI is not installed, or checkpoint, device or address cannot be used.
        FileNotFoundError: There is no such checkpoint.
    """
    if find_spec("nicegui") is None:
        raise ValueError(
            "`fewshot serve` must have NiceGUI, which makes the page. Found that it is not installed. Run "
            "`pip install 'partialot[fewshot,page]'`."
        )
    # No other command needs it.
    from fewshot.page.server import Address, serve_page

    options = build_serve_parser().instantiate(options)
    segmenter = Segmenter.from_checkpoint(options.checkpoint, device=options.device)
    serve_page(segmenter, options.checkpoint, Address(options.host, options.port), show=options.show)
    return "The page is closed."
