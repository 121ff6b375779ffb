import pytest
import torch
from torch.testing import assert_close

from fewshot.model.decoder import ASPPDecoder


def build(channels: int, *, maps: int = 1, dilations: tuple[int, ...] = (6, 12, 18)) -> ASPPDecoder:
    return ASPPDecoder(channels, maps=maps, history=2, dilations=dilations, dropout=0.5).eval()


def test_a_decoder_of_the_papers_width_has_this_many_weights() -> None:
    decoder = ASPPDecoder(256, maps=2, history=0, dilations=(6, 12, 18), dropout=0.5)
    assert sum(parameter.numel() for parameter in decoder.parameters()) == 6_955_266


def test_it_answers_at_one_scale() -> None:
    maps, history = torch.rand(1, 1, 9, 9), torch.rand(1, 2, 9, 9)
    valid = torch.ones(1, 9, 9, dtype=torch.bool)
    assert build(4)(torch.randn(1, 4, 9, 9), torch.randn(1, 4), maps, valid, history).scales == ()


@pytest.mark.parametrize(("top", "left"), [(0, 0), (2, 0), (0, 3), (2, 3)])
@pytest.mark.parametrize("dilations", [(1,), (2, 3), (6, 12, 18)])
def test_a_padded_grid_gives_the_logits_of_one_that_ends_where_the_padding_begins(
    top: int, left: int, dilations: tuple[int, ...]
) -> None:
    decoder, channels, prototype = build(8, dilations=dilations), 8, torch.randn(1, 8)
    alone = {name: torch.rand(1, count, 9, 8) for name, count in (("query", channels), ("maps", 1), ("history", 2))}
    rows, columns = slice(top, top + 9), slice(left, left + 8)
    padded = {name: torch.full((1, value.shape[1], 12, 12), 9.0) for name, value in alone.items()}
    valid = torch.zeros(1, 12, 12, dtype=torch.bool)
    valid[:, rows, columns] = True
    for name, value in alone.items():
        padded[name][..., rows, columns] = value
    found = decoder(**padded, prototype=prototype, valid=valid).logits[..., rows, columns]
    everything = torch.ones(1, 9, 8, dtype=torch.bool)
    assert_close(found, decoder(**alone, prototype=prototype, valid=everything).logits, rtol=1e-4, atol=1e-5)
