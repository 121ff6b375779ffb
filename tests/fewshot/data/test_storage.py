import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from fewshot.data.storage import DamagedFileError, load_cached, load_tensors, name_tensors, save_tensors


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    return {
        "images": torch.arange(24, dtype=torch.uint8).view(2, 3, 4),
        "weights": torch.randn(5, 3).mT.contiguous(),
        "halves": torch.randn(7).half(),
        "brain": torch.randn(4).bfloat16(),
        "count": torch.tensor(3),
    }


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value)


def test_what_was_written_is_read(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.safetensors"
    save_tensors(path, tensors)
    assert_same(load_tensors(path), tensors)


def test_notes_go_into_the_header(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    save_tensors(tmp_path / "file", tensors, notes={"made": "by a test"})
    with safe_open(tmp_path / "file", framework="pt") as file:
        assert file.metadata()["made"] == "by a test"


@pytest.mark.parametrize("place", [-1, -40, -80], ids="byte {}".format)
def test_one_flipped_bit_is_found(place: int, tensors: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "file"
    save_tensors(path, tensors)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"Found other content in .*file\. Delete the file"):
        load_tensors(path)


@pytest.mark.parametrize("kept", [0, 5, 100, -1], ids="{} bytes".format)
def test_a_file_cut_short_is_found(kept: int, tensors: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "file"
    save_tensors(path, tensors)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DamagedFileError, match=r"Found an unreadable file .*\. Delete the file"):
        load_tensors(path)


def test_a_file_of_another_writer_is_refused(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "file")
    with pytest.raises(DamagedFileError, match=r"Found no hash in .*\. Delete the file"):
        load_tensors(tmp_path / "file")


def test_an_interrupted_write_leaves_the_old_file(
    tensors: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    save_tensors(path, tensors)

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_tensors(path, {"images": torch.zeros(3)})
    assert_same(load_tensors(path), tensors)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"], "nothing half-written stays behind"


def test_cache_has_nothing_where_there_is_no_file(tmp_path: Path) -> None:
    assert load_cached(tmp_path / "file") is None


def test_cache_forgets_a_damaged_file_and_says_so(
    tensors: dict[str, Tensor], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "file"
    save_tensors(path, tensors)
    assert load_cached(path) is not None
    assert not caplog.records
    path.write_bytes(b"nothing of the kind")
    assert load_cached(path) is None
    assert "unreadable file" in caplog.text


@dataclass(frozen=True)
class Named:
    """A dataclass that holds a tensor."""

    value: Tensor


def test_tensors_are_named_by_fields_and_places() -> None:
    nested = (Named(torch.tensor(1)), (torch.tensor(2), "no tensor"))
    assert {name: int(tensor) for name, tensor in name_tensors(nested)} == {"0.value": 1, "1.0": 2}
