from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from fewshot.model.decoder import ASPPDecoder, FEMDecoder

Decoder = ASPPDecoder | FEMDecoder
Build = Callable[[int, int, int], Decoder]


def build_aspp(channels: int, maps: int, history: int) -> Decoder:
    return ASPPDecoder(channels, maps=maps, history=history, dilations=(6, 12, 18), dropout=0.5)


def build_fem(channels: int, maps: int, history: int) -> Decoder:
    return FEMDecoder(channels, maps=maps, history=history)


BUILDERS = pytest.mark.parametrize("build", [build_aspp, build_fem])


@BUILDERS
@pytest.mark.parametrize("grid", [(60, 60), (53, 53), (81, 81), (29, 29), (29, 41), (1, 3)])
def test_logits_have_the_size_of_the_nodes(build: Build, grid: tuple[int, int]) -> None:
    decoder = build(4, 2, 0)
    decoded = decoder(torch.randn(1, 4, *grid), torch.randn(1, 4), torch.rand(1, 2, *grid))
    assert decoded.logits.shape == (1, 2, *grid)


def test_fem_answers_at_four_scales() -> None:
    decoded = build_fem(4, 0, 0)(torch.randn(1, 4, 60, 60), torch.randn(1, 4), torch.zeros(1, 0, 60, 60))
    assert [tuple(one.shape[-2:]) for one in decoded.scales] == [(60, 60), (30, 30), (15, 15), (8, 8)]


def test_aspp_answers_at_one_scale() -> None:
    decoded = build_aspp(4, 0, 0)(torch.randn(1, 4, 9, 9), torch.randn(1, 4), torch.zeros(1, 0, 9, 9))
    assert decoded.scales == ()


@BUILDERS
def test_no_decoder_normalises_batches(build: Build) -> None:
    modules = list(build(4, 2, 2).modules())
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in modules)


@pytest.mark.parametrize(("build", "weights"), [(build_aspp, 6_955_266), (build_fem, 10_037_514)])
def test_decoders_of_the_papers_width_have_this_many_weights(build: Build, weights: int) -> None:
    # PFENet trains 10.8 million, of which two reductions from 1536 to 256 channels are 0.8 million.
    assert sum(parameter.numel() for parameter in build(256, 2, 0).parameters()) == weights


@BUILDERS
@pytest.mark.parametrize("changed", ["query", "prototype", "maps", "history"])
def test_every_input_is_read(build: Build, changed: str) -> None:
    decoder = build(4, 1, 2).eval()
    inputs = {
        "query": torch.randn(1, 4, 8, 8),
        "prototype": torch.randn(1, 4),
        "maps": torch.rand(1, 1, 8, 8),
        "history": torch.rand(1, 2, 8, 8),
    }
    before = decoder(**inputs).logits
    after = decoder(**{**inputs, changed: inputs[changed] + 1.0}).logits
    assert not torch.allclose(before, after)


@BUILDERS
def test_every_weight_learns(build: Build) -> None:
    decoder = build(4, 1, 2).eval()
    decoded = decoder(torch.randn(1, 4, 16, 16), torch.randn(1, 4), torch.rand(1, 1, 16, 16), torch.rand(1, 2, 16, 16))
    (decoded.logits.sum() + sum(scale.sum() for scale in decoded.scales)).backward()
    assert all(parameter.grad is not None for parameter in decoder.parameters())


@BUILDERS
def test_queries_of_a_batch_do_not_mix(build: Build) -> None:
    decoder = build(4, 1, 0).eval()
    query, prototype, maps = torch.randn(3, 4, 8, 8), torch.randn(3, 4), torch.rand(3, 1, 8, 8)
    together = decoder(query, prototype, maps).logits
    assert_close(together[1:2], decoder(query[1:2], prototype[1:2], maps[1:2]).logits)
