from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fewshot.data.fitting import Fit
from fewshot.model import CMNet, CMNetConfig
from fewshot.page.answer import Answer, answer_query
from fewshot.page.photograph import Photograph, read_photograph
from fewshot.segmenter import Segmenter

Example = tuple[Photograph, Image.Image]


@pytest.fixture(scope="module")
def searched(query: Path) -> Photograph:
    return read_photograph(query.read_bytes(), query.name)


@pytest.fixture(scope="module")
def example(support: Path) -> Example:
    photograph = read_photograph(support.read_bytes(), support.name)
    mask = Image.new("L", photograph.image.size)
    mask.paste(255, (10, 8, 40, 30))
    return photograph, mask


def decode(content: bytes | None) -> np.ndarray:
    assert content is not None
    with Image.open(BytesIO(content), formats=["PNG"]) as picture:
        return np.asarray(picture)


def test_an_answer_is_that_of_the_segmenter_in_pictures(
    segmenter: Segmenter, searched: Photograph, example: Example
) -> None:
    answer = answer_query(segmenter, searched, [example])
    expected = segmenter.predict(searched.image, [(example[0].image, example[1])])
    assert torch.equal(answer.probability, expected.probability)
    assert answer.share == pytest.approx(expected.mask.float().mean().item())
    assert answer.grid == expected.prediction.query_grid
    size = searched.image.size[::-1]
    assert all(decode(one).shape == (*size, 3) for one in (answer.overlay, answer.transport, answer.prior))
    assert decode(answer.matching).std() > 10
    np.testing.assert_array_equal(decode(answer.encode_mask()) == 255, expected.mask.numpy())


def test_the_mass_moved_is_the_object_s_size_or_as_many_times_it_as_asked(
    segmenter: Segmenter, searched: Photograph, example: Example
) -> None:
    usual = answer_query(segmenter, searched, [example])
    half = answer_query(segmenter, searched, [example], mass=0.5)
    assert usual.moved is not None
    assert half.moved == pytest.approx(0.5 * usual.moved, rel=1e-3)  # marginals are met to `tol`, 1e-3
    assert (decode(half.transport) != decode(usual.transport)).any()
    again = answer_query(segmenter, searched, [example], mass=1.0)
    assert torch.equal(again.probability, usual.probability)


def test_several_examples_are_drawn_below_each_other(
    segmenter: Segmenter, searched: Photograph, example: Example
) -> None:
    one, two = (answer_query(segmenter, searched, [example] * count) for count in (1, 2))
    assert decode(two.matching).shape[0] > 1.3 * decode(one.matching).shape[0]


def test_an_example_without_a_mask_is_refused(segmenter: Segmenter, searched: Photograph, example: Example) -> None:
    with pytest.raises(ValueError, match=r"Draw the object, or leave this support out"):
        answer_query(segmenter, searched, [(example[0], Image.new("L", example[0].image.size))])


def test_a_network_without_maps_shows_the_object_alone(searched: Photograph, example: Example) -> None:
    config = CMNetConfig(backbone="small", width=16, decoder="aspp", transport="none", prior=False)
    segmenter = Segmenter(CMNet(config), fit=Fit(48))
    answer = answer_query(segmenter, searched, [example])
    assert decode(answer.overlay).any()
    assert (answer.transport, answer.prior, answer.matching, answer.moved, answer.grid) == (None,) * 5
    with pytest.raises(ValueError, match=r"Found `transport = 'none'`\. Leave `mass` out, or use another checkpoint"):
        answer_query(segmenter, searched, [example], mass=1.0)


def test_the_mask_is_saved_at_the_size_that_the_photograph_came_with() -> None:
    probability = torch.zeros(30, 40)
    probability[10:20, 10:30] = 1.0
    answer = Answer(probability, (400, 300), b"", None, None, None, None, None)
    mask = decode(answer.encode_mask())
    assert mask.shape == (300, 400)
    assert mask[120:180, 120:280].min() == 255
    assert mask.mean() / 255 == pytest.approx(answer.share, rel=0.05)  # the border lies within one small pixel
