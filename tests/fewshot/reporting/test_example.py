from pathlib import Path

import numpy as np
from PIL import Image

from fewshot.data.folder import Folder
from fewshot.data.pools import EpisodePool
from fewshot.data.sampling import EpisodeSampler
from fewshot.data.tasks import read_masked_image
from fewshot.labelling import read_annotation
from fewshot.reporting.example import write_example


def test_example_files_are_the_images_of_the_episode(
    photographs: Folder, photo_pool: EpisodePool, tmp_path: Path
) -> None:
    spec = EpisodeSampler(photo_pool, shot=1).draw(0)
    written = write_example(photographs, photo_pool, spec, tmp_path / "example")
    assert [path.name for path in written] == ["query.png", "query_mask.png", "support.png", "support_mask.png"]
    numbers = (spec.query, *spec.supports)
    for number, picture, labels in zip(numbers, written[::2], written[1::2], strict=True):
        image, mask = read_masked_image(photographs, photo_pool, number, spec.class_id)
        np.testing.assert_array_equal(np.asarray(Image.open(picture)), image.permute(1, 2, 0).numpy())
        np.testing.assert_array_equal(np.asarray(Image.open(labels)), mask.numpy())
        # As `fewshot predict` reads it.
        np.testing.assert_array_equal(read_annotation(labels, picture, image).numpy(), mask.numpy())


def test_several_supports_are_numbered(photographs: Folder, photo_pool: EpisodePool, tmp_path: Path) -> None:
    written = write_example(photographs, photo_pool, EpisodeSampler(photo_pool, shot=2).draw(1), tmp_path)
    assert [path.name for path in written[2::2]] == ["support_1.png", "support_2.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in written)


def test_the_object_of_a_mask_is_seen(photographs: Folder, photo_pool: EpisodePool, tmp_path: Path) -> None:
    written = write_example(photographs, photo_pool, EpisodeSampler(photo_pool).draw(0), tmp_path)
    with Image.open(written[1]) as picture:
        labels, colours = np.asarray(picture), np.asarray(picture.convert("RGB"))
    assert np.unique(colours[labels == 1], axis=0).tolist() == [[230, 60, 40]]
    assert (colours[labels == 0] == 0).all()
