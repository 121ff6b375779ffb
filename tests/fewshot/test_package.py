import subprocess
import sys

import pytest

import fewshot
from fewshot.segmenter import Segmenter


def test_the_package_itself_is_light() -> None:
    # In a process of its own: here everything is imported already.
    script = "import fewshot, sys; sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_the_segmenter_is_found_in_the_package() -> None:
    assert fewshot.Segmenter is Segmenter
    namespace: dict[str, object] = {}
    exec("from fewshot import *", namespace)
    assert namespace["Segmenter"] is Segmenter


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="module 'fewshot' has no attribute 'segment'"):
        getattr(fewshot, "segment")  # noqa: B009 - the type checker knows that it is not there
