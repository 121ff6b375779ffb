from pathlib import Path

import pytest

from fewshot.checkpoint import save_checkpoint
from fewshot.data.folder import Folder
from fewshot.segmenter import Segmenter
from tests.fewshot.photographs import FIT, build_network


@pytest.fixture(scope="session")
def checkpoint(photographs: Folder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network with prior and transport that takes half of what it sees for the object."""
    path = tmp_path_factory.mktemp("page") / "cmnet.safetensors"
    save_checkpoint(build_network(photographs, prior=True, transport="partial"), path, fit=FIT)
    return path


@pytest.fixture(scope="session")
def segmenter(checkpoint: Path) -> Segmenter:
    return Segmenter.from_checkpoint(checkpoint)


@pytest.fixture(scope="session")
def support(photographs: Folder) -> Path:
    """A photograph to draw on."""
    return photographs.root / "images" / "00.png"


@pytest.fixture(scope="session")
def query(photographs: Folder) -> Path:
    """A photograph to search."""
    return photographs.root / "images" / "08.png"
