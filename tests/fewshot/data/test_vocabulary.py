from itertools import combinations

import pytest

from fewshot.data.vocabulary import BASE_MATERIALS, Vocabulary, draw_vocabulary


@pytest.fixture(scope="module", params=[0, 1, 2], ids="seed {}".format)
def vocabulary(request: pytest.FixtureRequest) -> Vocabulary:
    return draw_vocabulary(request.param, base_classes=60, novel_classes=15)


def test_classes_are_numbered_through_and_base_and_novel_share_none(vocabulary: Vocabulary) -> None:
    assert [kind.class_id for kind in vocabulary.base] == list(range(1, 61))
    assert [kind.class_id for kind in vocabulary.novel] == list(range(61, 76))


def test_every_class_has_a_body_and_two_attachments_of_three_materials(vocabulary: Vocabulary) -> None:
    for kind in vocabulary.base + vocabulary.novel:
        assert len(kind.parts) == len(kind.materials) == 3
        assert kind.parts[0].centre == (0.0, 0.0)


def test_two_classes_share_one_material_at_most(vocabulary: Vocabulary) -> None:
    shared = [len(one.materials & two.materials) for one, two in combinations(vocabulary.base + vocabulary.novel, 2)]
    assert max(shared) == 1


def test_base_classes_never_use_the_unseen_materials(vocabulary: Vocabulary) -> None:
    assert max(max(kind.materials) for kind in vocabulary.base) < BASE_MATERIALS


def test_novel_classes_mix_seen_and_unseen_materials(vocabulary: Vocabulary) -> None:
    for kind in vocabulary.novel:
        assert min(kind.materials) < BASE_MATERIALS <= max(kind.materials)


def test_materials_are_used_by_several_classes(vocabulary: Vocabulary) -> None:
    users = [sum(number in kind.materials for kind in vocabulary.base) for number in range(BASE_MATERIALS)]
    assert min(users) >= 2


def test_no_material_dominates_an_object(vocabulary: Vocabulary) -> None:
    for kind in vocabulary.base + vocabulary.novel:
        body, *attachments = (part.radii[0] * part.radii[1] for part in kind.parts)
        assert 0.7 * body < sum(attachments) < 1.4 * body


def test_vocabulary_is_a_function_of_the_seed() -> None:
    first, second, third = (draw_vocabulary(seed, base_classes=5, novel_classes=2) for seed in (3, 3, 4))
    assert first == second != third


def test_more_classes_than_there_are_pairs_of_materials_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Found no free triple of materials after \d+ classes\. Ask for fewer"):
        draw_vocabulary(0, base_classes=150, novel_classes=15)
