import numpy as np
import pytest

from fewshot.data import scene
from fewshot.data.scene import IMAGE_SIZE, MIN_TARGET_AREA, Scene, draw_scene
from fewshot.data.vocabulary import Vocabulary, draw_vocabulary

SCENES = 60


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return draw_vocabulary(0, base_classes=20, novel_classes=5)


@pytest.fixture(scope="module")
def scenes(vocabulary: Vocabulary) -> list[Scene]:
    base = vocabulary.base
    return [draw_scene(vocabulary, base[index % 20], base, (0, 1, index)) for index in range(SCENES)]


def test_scenes_are_8_bit_colour_pictures_with_a_label_for_every_pixel(scenes: list[Scene]) -> None:
    for one in scenes:
        assert one.image.shape == (IMAGE_SIZE, IMAGE_SIZE, 3)
        assert one.labels.shape == (IMAGE_SIZE, IMAGE_SIZE)
        assert one.image.dtype == one.labels.dtype == np.uint8


def test_every_scene_shows_enough_of_its_target(scenes: list[Scene]) -> None:
    areas = [np.count_nonzero(one.labels == index % 20 + 1) for index, one in enumerate(scenes)]
    assert min(areas) >= MIN_TARGET_AREA
    assert 0.06 < np.mean(areas) / IMAGE_SIZE**2 < 0.16, "about a tenth of the picture"


def test_most_scenes_show_distractors_of_other_classes(scenes: list[Scene]) -> None:
    others = [set(np.unique(one.labels)) - {0, index % 20 + 1} for index, one in enumerate(scenes)]
    assert np.mean([bool(kinds) for kinds in others]) > 0.8


def test_distractors_prefer_classes_that_share_a_material(vocabulary: Vocabulary, scenes: list[Scene]) -> None:
    base = vocabulary.base
    related = [
        bool(base[other - 1].materials & base[index % 20].materials)
        for index, one in enumerate(scenes)
        for other in set(np.unique(one.labels).tolist()) - {0, index % 20 + 1}
    ]
    by_chance = np.mean([bool(one.materials & two.materials) for one in base for two in base if one is not two])
    assert np.mean(related) > by_chance + 0.15


def test_scene_is_a_pure_function_of_its_seed(vocabulary: Vocabulary, scenes: list[Scene]) -> None:
    again = draw_scene(vocabulary, vocabulary.base[7], vocabulary.base, (0, 1, 7))
    np.testing.assert_array_equal(again.image, scenes[7].image)
    np.testing.assert_array_equal(again.labels, scenes[7].labels)
    assert (scenes[7].image != scenes[27].image).any(), "another index of the same class"


def test_scene_without_other_classes_shows_its_target_alone(vocabulary: Vocabulary) -> None:
    alone = draw_scene(vocabulary, vocabulary.novel[0], vocabulary.novel[:1], (0, 2, 0))
    assert set(np.unique(alone.labels)) == {0, vocabulary.novel[0].class_id}


def test_scene_that_never_shows_its_target_is_given_up(vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene, "MIN_TARGET_AREA", IMAGE_SIZE**2 + 1)
    monkeypatch.setattr(scene, "MAX_ATTEMPTS", 3)
    with pytest.raises(RuntimeError, match=r"Found fewer in 3 attempts for class 1\. Report the seed \(0, 1, 0\)"):
        draw_scene(vocabulary, vocabulary.base[0], vocabulary.base, (0, 1, 0))
