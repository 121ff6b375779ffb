import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from fewshot.visualisation.figures import encode_figure, encode_picture, new_figure, save_figure, save_picture


def test_a_figure_has_150_pixels_to_the_inch() -> None:
    with Image.open(io.BytesIO(encode_figure(new_figure(3.0, 2.0)))) as picture:
        assert (picture.format, picture.size) == ("PNG", (450, 300))


@pytest.mark.parametrize("shape", [(5, 7, 3), (5, 7)], ids=["colours", "grey"])
def test_a_picture_keeps_every_pixel(shape: tuple[int, ...]) -> None:
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8)
    with Image.open(io.BytesIO(encode_picture(pixels))) as picture:
        np.testing.assert_array_equal(np.asarray(picture), pixels.numpy())


def test_files_appear_whole_and_with_their_folders(tmp_path: Path) -> None:
    pixels: Tensor = torch.zeros(4, 6, dtype=torch.uint8)
    save_picture(pixels, tmp_path / "run" / "mask.png")
    save_figure(new_figure(1.0, 1.0), tmp_path / "run" / "chart.png")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["chart.png", "mask.png"]
    for name in ("chart.png", "mask.png"):
        with Image.open(tmp_path / "run" / name) as picture:
            picture.load()


def test_an_interruption_leaves_the_last_picture_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mask.png"
    save_picture(torch.zeros(4, 6, dtype=torch.uint8), path)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(KeyboardInterrupt):
        save_picture(torch.ones(4, 6, dtype=torch.uint8), path)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["mask.png"]
