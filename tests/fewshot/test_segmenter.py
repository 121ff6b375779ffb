from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional
from torch.testing import assert_close

from fewshot.checkpoint import save_checkpoint
from fewshot.model import CMNet, CMNetConfig
from fewshot.segmenter import Segmenter, fit_to_square

SIDE = 48


def draw_image(height: int, width: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def draw_mask(height: int, width: int, value: int = 1) -> Image.Image:
    labels = np.zeros((height, width), dtype=np.uint8)
    labels[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = value
    return Image.fromarray(labels)


@pytest.fixture
def segmenter() -> Segmenter:
    return Segmenter(CMNet(CMNetConfig(backbone="small", width=16, dilations=(1, 2))), image_size=SIDE)


@pytest.mark.parametrize("size", [(64, 64), (40, 90), (201, 33), (1, 300), (7, 7)])
def test_the_answer_has_the_size_of_the_query(size: tuple[int, int], segmenter: Segmenter) -> None:
    found = segmenter.predict(draw_image(*size), [(draw_image(50, 70), draw_mask(50, 70))])
    assert found.mask.shape == found.probability.shape == size
    assert found.prior_map is not None
    assert found.transport_map is not None
    assert found.prior_map.shape == found.transport_map.shape == size
    assert torch.equal(found.mask, found.probability > 0.5)
    assert found.to_image().size == size[::-1]


def test_several_shots_of_different_sizes_are_used(segmenter: Segmenter) -> None:
    query, first = draw_image(60, 60), (draw_image(50, 70, 1), draw_mask(50, 70))
    second = (draw_image(90, 30, 2), draw_mask(90, 30))
    one, two = segmenter.predict(query, [first]), segmenter.predict(query, [first, second])
    assert two.episode.support_masks.shape == (1, 2, SIDE, SIDE)
    assert not torch.allclose(one.probability, two.probability)
    assert_close(segmenter.predict(query, [second, first]).probability, two.probability, rtol=1e-3, atol=1e-5)


def test_files_and_a_checkpoint_give_what_images_and_the_network_give(segmenter: Segmenter, tmp_path: Path) -> None:
    query, image, mask = draw_image(40, 60), draw_image(30, 50, 1), draw_mask(30, 50)
    for name, picture in (("query", query), ("image", image), ("mask", mask)):
        picture.save(tmp_path / f"{name}.png")
    save_checkpoint(segmenter.model, tmp_path / "cmnet.safetensors", image_size=SIDE)
    loaded = Segmenter.from_checkpoint(str(tmp_path / "cmnet.safetensors"))
    found = loaded.predict(tmp_path / "query.png", [(str(tmp_path / "image.png"), tmp_path / "mask.png")])
    assert torch.equal(found.probability, segmenter.predict(query, [(image, mask)]).probability)


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


def test_fitting_keeps_the_aspect_and_fills_the_corner() -> None:
    image = torch.full((3, 100, 50), 200, dtype=torch.uint8)
    fitted = fit_to_square(image, torch.ones(100, 50, dtype=torch.uint8), 20)
    assert fitted.fitted_size == (20, 10)
    assert fitted.original_size == (100, 50)
    assert fitted.pixels[:, :, :10].eq(200).all()
    assert fitted.pixels[:, :, 10:].eq(0).all()
    assert torch.equal(fitted.valid, fitted.labels == 1)


def test_labels_are_never_mixed_by_scaling() -> None:
    labels = torch.zeros(90, 60, dtype=torch.uint8)
    labels[10:50, 10:40] = 1
    labels[50:60] = 255
    fitted = fit_to_square(torch.zeros(3, 90, 60, dtype=torch.uint8), labels, 32)
    assert fitted.labels.unique().tolist() == [0, 1, 255]


def test_an_object_of_one_pixel_survives_scaling_down() -> None:
    labels = torch.zeros(1000, 900, dtype=torch.uint8)
    labels[403, 777] = 1
    fitted = fit_to_square(torch.zeros(3, 1000, 900, dtype=torch.uint8), labels, 20)
    assert (fitted.labels == 1).nonzero().tolist() == [[8, 15]]
