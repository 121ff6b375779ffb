from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewshot.data.reading import MAX_PIXELS, UnreadableImageError
from fewshot.page.photograph import LONGER_SIDE, MAX_BYTES, explain_refusal, load_example, read_photograph

ORIENTATION = 0x0112


def encode(image: Image.Image, form: str = "png", **options: object) -> bytes:
    content = BytesIO()
    image.save(content, format=form, **options)
    return content.getvalue()


def draw_image(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_a_small_photograph_stays_as_it_is() -> None:
    image = draw_image(40, 30)
    photograph = read_photograph(encode(image), "cat.png")
    assert photograph.name == "cat.png"
    assert photograph.original_size == (40, 30)
    np.testing.assert_array_equal(np.asarray(photograph.image), np.asarray(image))


def test_a_large_one_is_scaled_down_and_its_size_kept_in_mind() -> None:
    photograph = read_photograph(encode(Image.new("RGB", (3000, 1500)), "jpeg"), "cat.jpg")
    assert photograph.image.size == (LONGER_SIDE, LONGER_SIDE // 2)
    assert photograph.original_size == (3000, 1500)


def test_a_photograph_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    photograph = read_photograph(encode(draw_image(40, 30), "jpeg", exif=exif), "cat.jpg")
    assert photograph.image.size == photograph.original_size == (30, 40)


def test_a_file_of_too_many_bytes_is_refused_unread() -> None:
    with pytest.raises(UnreadableImageError, match=r"Found 21\.0 MB in cat\.jpg\. Scale it down, or save it as JPEG"):
        read_photograph(bytes(MAX_BYTES + 1_000_000), "cat.jpg")


def test_a_file_of_too_many_pixels_is_refused() -> None:
    content = encode(Image.new("1", (10_000, MAX_PIXELS // 10_000 + 1)))
    with pytest.raises(UnreadableImageError, match=r"Found 50010000 in cat\.png\. Scale it down first"):
        read_photograph(content, "cat.png")


def test_what_is_no_photograph_is_refused_whatever_it_is_called() -> None:
    with pytest.raises(UnreadableImageError, match=r"Found something else in cat\.jpg\. Convert it first"):
        read_photograph(b"GIF89a and so on", "cat.jpg")


def test_a_damaged_file_is_refused() -> None:
    with pytest.raises(UnreadableImageError, match=r"Found cat\.png cut short or damaged .* Fetch it again"):
        read_photograph(encode(draw_image(40, 30))[:500], "cat.png")


def test_a_file_that_never_left_the_browser_is_refused_for_its_size_or_its_kind() -> None:
    assert "Found 30.5 MB in a.jpg. Scale it down" in explain_refusal(30_500_000, "a.jpg")
    assert "Found something else in a.txt. Convert it first." in explain_refusal(100, "a.txt")


def test_the_example_of_the_demonstration_is_loaded_with_its_mask(tmp_path: Path) -> None:
    labels = np.zeros((30, 40), dtype=np.uint8)
    labels[5:20, 5:20], labels[20:, :] = 1, 255
    Image.fromarray(labels).save(tmp_path / "support_mask.png")
    for name in ("support.png", "query.png"):
        draw_image(40, 30).save(tmp_path / name)
    support, mask, query = load_example(tmp_path)
    assert (support.name, query.name) == ("support.png", "query.png")
    np.testing.assert_array_equal(np.asarray(mask), np.where(labels == 1, 255, 0))


def test_an_example_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match=r"Found nothing at .*support\.png\. Correct the path"):
        load_example(tmp_path)
