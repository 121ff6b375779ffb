import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewshot.data.masks import LabelMask, ObjectMask, WrongLabelError
from fewshot.data.reading import UnreadableImageError
from fewshot.data.scanning import MaskScan, check_processes, count_pixels, map_files, scan_masks
from tests.fewshot.data.voc_tree import HEIGHT, TRAIN, WIDTH, write_mask


def scans_of(root: Path) -> list[MaskScan]:
    return [
        MaskScan(LabelMask(root / "SegmentationClassAug" / f"{name}.png", 20), root / "JPEGImages" / f"{name}.jpg")
        for name in TRAIN
    ]


@pytest.mark.parametrize("processes", [1, 2])
def test_masks_are_counted_in_their_order(voc_root: Path, processes: int) -> None:
    found = scan_masks(scans_of(voc_root), processes=processes)
    assert found == [dict(sorted(pixels.items())) for pixels in TRAIN.values()]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_damaged_mask_is_named_by_whichever_process_read_it(voc_root: Path, processes: int) -> None:
    path = scans_of(voc_root)[3].mask.path
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UnreadableImageError, match=rf"Found .*{path.name} cut short or damaged .*\. Fetch it again"):
        scan_masks(scans_of(voc_root), processes=processes)


def test_a_mask_of_another_data_set_is_refused(tmp_path: Path) -> None:
    write_mask(tmp_path / "mask.png", {20: 10, 21: 10, 80: 10})
    with pytest.raises(
        WrongLabelError, match=r"labels 0 to 20 and 255 only\. Found \[21, 80\] in .*mask\.png\. Use the"
    ):
        count_pixels(MaskScan(LabelMask(tmp_path / "mask.png", 20), None))


def test_a_mask_of_colours_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "mask.png")
    with pytest.raises(UnreadableImageError, match=r"Found mode RGB in .*mask\.png\. Save the labels"):
        count_pixels(MaskScan(LabelMask(tmp_path / "mask.png", 20), None))


def test_a_photograph_of_another_size_is_refused(voc_root: Path) -> None:
    scan = scans_of(voc_root)[0]
    assert scan.photograph is not None
    Image.fromarray(np.zeros((WIDTH, HEIGHT, 3), dtype=np.uint8)).save(scan.photograph)
    sizes = re.escape(f"({WIDTH}, {HEIGHT}) in {scan.photograph} and ({HEIGHT}, {WIDTH}) in {scan.mask.path}")
    with pytest.raises(WrongLabelError, match=rf"Found {sizes} \(height, width\)\. Fetch both"):
        count_pixels(scan)


def test_missing_files_are_counted_before_anything_is_read(voc_root: Path) -> None:
    scans = scans_of(voc_root)
    scans[0].mask.path.write_bytes(b"damaged")
    for scan in scans[2:5]:
        scan.mask.path.unlink()
    first = re.escape(str(scans[2].mask.path))
    message = rf"Found 3 of 12 files missing, the first of them {first}\. Correct the data folder"
    with pytest.raises(FileNotFoundError, match=message):
        scan_masks(scans)


def test_a_class_beyond_255_is_counted(tmp_path: Path) -> None:
    write_mask(tmp_path / "mask.png", {1: 10})
    found = count_pixels(MaskScan(ObjectMask(tmp_path / "mask.png", 760), None))
    assert found == {760: 40}, "10 pixels and the 30 of 255, which are no unknown ones here"


@pytest.mark.parametrize("processes", [1, 2])
def test_results_keep_the_order_of_the_items(processes: int) -> None:
    with map_files(str, list(range(70)), processes=processes) as results:
        assert list(results) == [str(number) for number in range(70)]


def test_no_process_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least 1\. Found `processes = 0`\. Pass 1"):
        scan_masks([], processes=0)
    with pytest.raises(ValueError, match=r"at least 1\. Found `processes = -1`\. Pass 1"):
        check_processes(-1)
