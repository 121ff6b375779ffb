import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fewshot.data.reading import (
    MAX_PIXELS,
    UnreadableImageError,
    decode_image,
    read_grey,
    read_image,
    read_labels,
    read_size,
    select_object,
)

ORIENTATION = 0x0112


def draw_pixels(height: int = 6, width: int = 9) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write_png_header(path: Path, side: int) -> None:
    """A file of 200 bytes that says it holds side × side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)


def test_a_photograph_is_read_as_it_was_written(tmp_path: Path) -> None:
    pixels = draw_pixels()
    Image.fromarray(pixels).save(tmp_path / "image.png")
    assert torch.equal(read_image(tmp_path / "image.png"), torch.from_numpy(pixels).permute(2, 0, 1))
    assert torch.equal(read_image(str(tmp_path / "image.png")), read_image(Image.fromarray(pixels)))


def test_the_bytes_of_a_file_are_read_as_the_file_and_refused_by_the_name_given(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.fromarray(draw_pixels()).save(path)
    assert torch.equal(decode_image(path.read_bytes(), "cat.png"), read_image(path))
    with pytest.raises(UnreadableImageError, match=r"Found something else in cat\.png\. Convert it first"):
        decode_image(b"no image", "cat.png")
    with pytest.raises(UnreadableImageError, match=r"Found cat\.png cut short or damaged"):
        decode_image(path.read_bytes()[:100], "cat.png")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_other_colour_models_become_three_channels(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("image.jpg" if mode == "CMYK" else "image.png")
    Image.fromarray(draw_pixels(8, 8)).convert(mode).save(path)
    with Image.open(path) as stored:
        expected = np.array(stored.convert("RGB"))
    assert read_image(path).shape == (3, 8, 8)
    assert np.array_equal(read_image(path).permute(1, 2, 0).numpy(), expected)


def test_transparent_pixels_show_the_colour_stored_under_them(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 2), (10, 20, 30, 0)).save(tmp_path / "image.png")
    assert read_image(tmp_path / "image.png")[:, 0, 0].tolist() == [10, 20, 30]


def test_a_palette_image_with_transparency_is_read_without_a_warning(tmp_path: Path) -> None:
    image = Image.fromarray(draw_pixels(8, 8)).convert("P")
    image.save(tmp_path / "image.png", transparency=bytes([0] * 10))
    assert read_image(tmp_path / "image.png").shape == (3, 8, 8)


def test_the_cameras_orientation_is_applied_to_images_and_masks_alike(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(draw_pixels(6, 9)).save(tmp_path / "image.jpg", exif=exif)
    labels = np.zeros((6, 9), dtype=np.uint8)
    labels[0, 0] = 1
    Image.fromarray(labels).save(tmp_path / "mask.png", exif=exif)
    assert read_image(tmp_path / "image.jpg").shape == (3, 9, 6)
    assert read_labels(tmp_path / "mask.png").nonzero().tolist() == [[0, 5]]


def test_a_palette_mask_keeps_its_numbers(tmp_path: Path) -> None:
    mask = Image.frombytes("P", (2, 2), bytes([0, 3, 15, 255]))
    mask.putpalette([(7 * value) % 256 for value in range(768)])
    mask.save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as stored:
        assert stored.mode == "P"
    assert read_labels(tmp_path / "mask.png").tolist() == [[0, 3], [15, 255]]


def test_a_one_bit_mask_becomes_zero_and_one(tmp_path: Path) -> None:
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "mask.png")
    assert read_labels(tmp_path / "mask.png").tolist() == [[1, 0]]


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P"])
def test_grey_is_as_bright_as_the_picture_looks(tmp_path: Path, mode: str) -> None:
    Image.fromarray(np.array([[0, 127, 128, 255]], dtype=np.uint8)).convert(mode).save(tmp_path / "mask.png")
    assert read_grey(tmp_path / "mask.png").tolist() == [[0, 127, 128, 255]]


def test_a_palette_with_transparency_is_read_as_grey_without_a_warning(tmp_path: Path) -> None:
    image = Image.frombytes("P", (2, 1), bytes([0, 1]))
    image.putpalette([255, 255, 255, 0, 0, 0])
    image.save(tmp_path / "mask.png", transparency=bytes([0, 255]))
    assert read_grey(tmp_path / "mask.png").tolist() == [[255, 0]]


def test_grey_of_sixteen_bits_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 40_000, dtype=np.uint16)).save(tmp_path / "mask.png")
    with pytest.raises(UnreadableImageError, match=r"Found mode I;16 in .*mask\.png\. Scale it to 8 bits first"):
        read_grey(tmp_path / "mask.png")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    Image.fromarray(draw_pixels(64, 64)).save(tmp_path / "image.jpg")
    content = (tmp_path / "image.jpg").read_bytes()
    (tmp_path / "image.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(UnreadableImageError, match=r"Found .*image\.jpg cut short or damaged \(.*\)\. Fetch it again"):
        read_image(tmp_path / "image.jpg")


@pytest.mark.parametrize("content", [b"", b"<html>moved</html>", b"GIF89a"])
def test_a_file_that_is_no_image_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "image.jpg").write_bytes(content)
    with pytest.raises(UnreadableImageError, match=r"Found something else in .*image\.jpg\. Convert it first"):
        read_image(tmp_path / "image.jpg")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match=r"Found nothing at .*none\.png\. Correct the path"):
        read_labels(tmp_path / "none.png")


@pytest.mark.parametrize("side", [8_000, 10_000, 15_000])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path: Path, side: int) -> None:
    write_png_header(tmp_path / "bomb.png", side)
    message = rf"at most {MAX_PIXELS} pixels\. Found .* in .*bomb\.png\. Scale it down first"
    with pytest.raises(UnreadableImageError, match=message):
        read_image(tmp_path / "bomb.png")


def test_sixteen_bits_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 40_000, dtype=np.uint16)).save(tmp_path / "image.png")
    with pytest.raises(UnreadableImageError, match=r"Found mode I;16 in .*image\.png\. Scale it to 8 bits first"):
        read_image(tmp_path / "image.png")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_a_mask_of_colours_is_refused(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (4, 4)).save(tmp_path / "mask.png")
    with pytest.raises(UnreadableImageError, match=rf"Found mode {mode} in .*mask\.png\. Save the labels as a grey"):
        read_labels(tmp_path / "mask.png")


def test_a_mask_stored_as_jpeg_is_refused(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "mask.jpg")
    with pytest.raises(UnreadableImageError, match=r"Found a JPEG, .*mask\.jpg\. Save the mask as PNG"):
        read_labels(tmp_path / "mask.jpg")


@pytest.mark.parametrize(
    ("labels", "label", "expected"),
    [
        ([0, 1, 255], None, [0, 1, 255]),
        ([0, 12, 255], None, [0, 1, 255]),
        ([0, 255, 255], None, [0, 1, 1]),
        ([12, 12, 12], None, [1, 1, 1]),
        ([0, 5, 12], 12, [0, 0, 1]),
        ([5, 255, 12], 5, [1, 255, 0]),
        ([0, 5, 255], 255, [0, 0, 1]),
    ],
)
def test_the_object_is_found_among_the_labels(labels: list[int], label: int | None, expected: list[int]) -> None:
    assert select_object(torch.tensor([labels], dtype=torch.uint8), label=label).tolist() == [expected]


def test_several_labels_are_refused_unless_one_is_named() -> None:
    labels = torch.tensor([[0, 5, 12, 255]], dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"Found labels \[5, 12\] in cat\.png\. Pass one of them as `label`"):
        select_object(labels, name="cat.png")


@pytest.mark.parametrize(("values", "label"), [([0, 0], None), ([0, 3], 4), ([0, 0], 1)])
def test_an_empty_mask_is_refused(values: list[int], label: int | None) -> None:
    with pytest.raises(ValueError, match=r"Found labels .* in the mask\. Draw the object, or leave this support out"):
        select_object(torch.tensor([values], dtype=torch.uint8), label=label)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_size_is_that_of_the_image_as_it_is_read(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(draw_pixels(6, 9)).save(tmp_path / "image.jpg", exif=exif)
    assert read_size(tmp_path / "image.jpg") == tuple(read_image(tmp_path / "image.jpg").shape[1:])


def test_the_size_of_what_would_not_be_read_is_refused(tmp_path: Path) -> None:
    write_png_header(tmp_path / "bomb.png", 8_000)
    with pytest.raises(UnreadableImageError, match=r"Found 64000000 in .*bomb\.png\. Scale it down first"):
        read_size(tmp_path / "bomb.png")
    (tmp_path / "image.jpg").write_bytes(b"GIF89a")
    with pytest.raises(UnreadableImageError, match=r"Found something else in .*image\.jpg\. Convert it first"):
        read_size(tmp_path / "image.jpg")
    with pytest.raises(UnreadableImageError, match=r"Found nothing at .*none\.jpg\. Correct the path"):
        read_size(tmp_path / "none.jpg")
