from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional
from torch.testing import assert_close

from fewshot.checkpoint import save_checkpoint
from fewshot.data.fitting import Fit, Mode
from fewshot.model import CMNet, CMNetConfig
from fewshot.model.matching_config import MatchingConfig
from fewshot.segmenter import Segmenter, choose_device

SIDE = 48


def draw_image(height: int, width: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def draw_mask(height: int, width: int, value: int = 1) -> Image.Image:
    labels = np.zeros((height, width), dtype=np.uint8)
    labels[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = value
    return Image.fromarray(labels)


def box_of_mask(height: int, width: int) -> tuple[int, int, int, int]:
    """The box that `draw_mask` fills."""
    return width // 4, height // 4, 3 * width // 4, 3 * height // 4


@pytest.fixture
def network() -> CMNet:
    return CMNet(CMNetConfig(backbone="small", width=16, decoder="aspp", dilations=(1, 2)))


@pytest.fixture
def segmenter(network: CMNet) -> Segmenter:
    return Segmenter(network, fit=Fit(SIDE))


@pytest.mark.parametrize("mode", ["pad", "square", "pfenet"])
@pytest.mark.parametrize("size", [(64, 64), (40, 90), (201, 33), (1, 300), (7, 7)], ids=str)
def test_the_answer_has_the_size_of_the_query(size: tuple[int, int], mode: Mode, network: CMNet) -> None:
    segmenter = Segmenter(network, fit=Fit(SIDE, mode))
    query = draw_image(*size)
    found = segmenter.predict(query, [(draw_image(50, 70), draw_mask(50, 70))])
    assert found.mask.shape == found.probability.shape == size
    assert found.prior_map is not None
    assert found.transport_map is not None
    assert found.prior_map.shape == found.transport_map.shape == size
    assert torch.equal(found.mask, found.probability > 0.5)
    assert found.to_image().size == size[::-1]
    np.testing.assert_array_equal(found.image.permute(1, 2, 0).numpy(), np.asarray(query))


def test_several_shots_of_different_sizes_are_used(segmenter: Segmenter) -> None:
    query, first = draw_image(60, 60), (draw_image(50, 70, 1), draw_mask(50, 70))
    second = (draw_image(90, 30, 2), draw_mask(90, 30))
    one, two = segmenter.predict(query, [first]), segmenter.predict(query, [first, second])
    assert two.episode.support_masks.shape == (1, 2, SIDE, SIDE)
    assert not torch.allclose(one.probability, two.probability)
    assert_close(segmenter.predict(query, [second, first]).probability, two.probability, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("mode", ["pad", "square"])
def test_files_and_a_checkpoint_give_what_images_and_the_network_give(
    mode: Mode, network: CMNet, tmp_path: Path
) -> None:
    segmenter = Segmenter(network, fit=Fit(SIDE, mode))
    query, image, mask = draw_image(40, 60), draw_image(30, 50, 1), draw_mask(30, 50)
    for name, picture in (("query", query), ("image", image), ("mask", mask)):
        picture.save(tmp_path / f"{name}.png")
    save_checkpoint(segmenter.model, tmp_path / "cmnet.safetensors", fit=segmenter.fit)
    loaded = Segmenter.from_checkpoint(str(tmp_path / "cmnet.safetensors"))
    assert loaded.fit == Fit(SIDE, mode)
    found = loaded.predict(tmp_path / "query.png", [(str(tmp_path / "image.png"), tmp_path / "mask.png")])
    assert torch.equal(found.probability, segmenter.predict(query, [(image, mask)]).probability)


def test_many_queries_are_answered_as_each_alone_and_the_supports_are_encoded_once(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    supports = [(draw_image(50, 70, 1), draw_mask(50, 70)), (draw_image(90, 30, 2), draw_mask(90, 30))]
    queries = [draw_image(40, 60, 3), draw_image(64, 20, 4), draw_image(30, 30, 5)]
    alone = [segmenter.predict(query, supports) for query in queries]
    encoded: list[int] = []
    extract = segmenter.model.extract

    def count(images: torch.Tensor) -> Any:
        encoded.append(len(images))
        return extract(images)

    monkeypatch.setattr(segmenter.model, "extract", count)
    together = list(segmenter.predict_many(queries, supports))
    assert encoded == [2, 1, 1, 1]
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one.probability, other.probability)


def test_supports_are_refused_before_the_first_query_is_asked_for(segmenter: Segmenter) -> None:
    with pytest.raises(ValueError, match=r"Draw the object, or leave this support out"):
        segmenter.predict_many([], [(draw_image(40, 40), draw_mask(40, 40, 0))])


def test_a_box_is_a_filled_mask(segmenter: Segmenter) -> None:
    query, image = draw_image(40, 60), draw_image(52, 72, 1)
    by_mask = segmenter.predict(query, [(image, draw_mask(52, 72))])
    by_box = segmenter.predict(query, [(image, box_of_mask(52, 72))])
    assert torch.equal(by_mask.probability, by_box.probability)


def test_several_boxes_are_one_object_and_masks_may_stand_beside_them(segmenter: Segmenter) -> None:
    query, image = draw_image(40, 60), draw_image(48, 48, 1)
    boxes = [(0, 0, 10, 12), (20, 30, 48, 48)]
    found = segmenter.predict(query, [(image, boxes), (draw_image(50, 70), draw_mask(50, 70))])
    mask = found.episode.support_masks[0, 0]
    assert mask.sum() == 10 * 12 + 28 * 18
    assert mask[:12, :10].eq(1).all()
    assert mask[30:, 20:].eq(1).all()


def test_a_box_that_reaches_out_of_its_image_is_refused(segmenter: Segmenter) -> None:
    with pytest.raises(ValueError, match=r"Found \(10, 10, 80, 20\)\. Count pixels from the upper left corner"):
        segmenter.predict(draw_image(40, 40), [(draw_image(50, 70), (10, 10, 80, 20))])


def test_no_box_at_all_is_refused(segmenter: Segmenter) -> None:
    boxes: Sequence[tuple[int, int, int, int]] = []
    with pytest.raises(ValueError, match=r"Found none\. Draw one around each object"):
        segmenter.predict(draw_image(40, 40), [(draw_image(50, 70), boxes)])


def test_another_mass_moves_without_training_or_copying_anything(segmenter: Segmenter) -> None:
    query, supports = draw_image(40, 60), [(draw_image(48, 48, 1), draw_mask(48, 48))]
    usual = segmenter.predict(query, supports)
    twice = segmenter.with_matching(MatchingConfig(mass_ratio=2.0)).predict(query, supports)
    moved = [found.prediction.plan.sum() for found in (usual, twice) if found.prediction.plan is not None]
    assert_close(moved[1], 2 * moved[0], rtol=1e-3, atol=0.0)  # marginals are met to `tol`, 1e-3
    assert torch.equal(segmenter.predict(query, supports).probability, usual.probability)


def test_padding_takes_no_part(segmenter: Segmenter) -> None:
    found = segmenter.predict(draw_image(24, 48), [(draw_image(48, 12), draw_mask(48, 12))])
    assert found.episode.query_valid is not None
    assert found.episode.support_valid is not None
    assert found.episode.query_valid.sum() == 24 * 48
    assert found.episode.support_valid.sum() == 48 * 12
    assert found.prediction.plan is not None
    plan = found.prediction.plan.view(12, 12, 12, 12)
    assert plan[:, 3:].eq(0).all()
    assert plan[:, :, 6:].eq(0).all()
    assert (found.episode.query_image * ~found.episode.query_valid).eq(0).all()


def test_padding_is_cut_off_before_the_answer_is_scaled(segmenter: Segmenter) -> None:
    found = segmenter.predict(draw_image(24, 96), [(draw_image(48, 48), draw_mask(48, 48))])
    inside = found.prediction.logits[..., : SIDE // 4, :]
    expected = functional.interpolate(inside, (24, 96), mode="bilinear").softmax(1)[0, 1]
    assert_close(found.probability, expected)


def test_a_mask_of_several_labels_asks_which(segmenter: Segmenter) -> None:
    labels = np.array(draw_mask(40, 40, 7))
    labels[:5] = 3
    supports = [(draw_image(40, 40), Image.fromarray(labels))]
    with pytest.raises(ValueError, match=r"Found labels \[3, 7\] in the image given\. Pass one of them as `label`"):
        segmenter.predict(draw_image(40, 40), supports)
    three, seven = (segmenter.predict(draw_image(40, 40), supports, label=label) for label in (3, 7))
    assert not torch.equal(three.probability, seven.probability)


def test_an_empty_mask_is_refused(segmenter: Segmenter) -> None:
    with pytest.raises(ValueError, match=r"Found labels \[\] in the image given\. Draw the object"):
        segmenter.predict(draw_image(40, 40), [(draw_image(40, 40), draw_mask(40, 40, 0))])


def test_a_mask_of_another_size_is_refused_with_both_sizes(segmenter: Segmenter) -> None:
    message = r"Found 20 x 30 \(height x width\) .* has 40 x 50\. Pass the mask that was drawn on this image"
    with pytest.raises(ValueError, match=message):
        segmenter.predict(draw_image(40, 40), [(draw_image(40, 50), draw_mask(20, 30))])


def test_no_support_is_refused(segmenter: Segmenter) -> None:
    with pytest.raises(ValueError, match=r"Found none\. Show the network an example"):
        segmenter.predict(draw_image(40, 40), [])


def test_the_network_runs_in_single_precision_without_dropout(network: CMNet) -> None:
    segmenter = Segmenter(network.double().train(), fit=Fit(SIDE))
    assert {one.dtype for one in segmenter.model.parameters()} == {torch.float32}
    assert not segmenter.model.training
    supports = [(draw_image(40, 40, 1), draw_mask(40, 40))]
    first, second = (segmenter.predict(draw_image(40, 40), supports) for _ in range(2))
    assert first.probability.dtype == torch.float32
    assert torch.equal(first.probability, second.probability)


@pytest.mark.parametrize("name", ["cuda:99", "abacus"])
def test_a_device_that_is_not_here_is_refused(name: str, network: CMNet) -> None:
    with pytest.raises(ValueError, match=rf"Found '{name}' \(.+\)\. Pass 'auto' or 'cpu'"):
        Segmenter(network, fit=Fit(SIDE), device=name)


def test_auto_is_a_gpu_where_there_is_one() -> None:
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device(torch.device("cpu")) == choose_device("cpu") == torch.device("cpu")


@pytest.mark.gpu
def test_a_gpu_gives_what_the_cpu_gives_and_answers_come_home(network: CMNet) -> None:
    query, supports = draw_image(40, 60), [(draw_image(50, 70, 1), draw_mask(50, 70))]
    expected = Segmenter(network, fit=Fit(SIDE)).predict(query, supports)
    found = Segmenter(network, fit=Fit(SIDE), device="cuda").predict(query, supports)
    assert found.prediction.plan is not None
    assert found.prediction.plan.device.type == "cpu"
    assert_close(found.probability, expected.probability, rtol=1e-3, atol=1e-3)
