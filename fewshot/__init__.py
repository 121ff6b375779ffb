"""CMNet: few-shot segmentation by partial optimal transport.

`fewshot.Segmenter` predicts with a trained network; everything else is imported from the module that has it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fewshot.segmenter import Segmenter

__all__ = ["Segmenter"]


def __getattr__(name: str) -> Any:
    # On demand: processes that read images import this package too, and need no network.
    if name == "Segmenter":
        return import_module("fewshot.segmenter").Segmenter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
