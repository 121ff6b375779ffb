from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from fewshot.model.decoder import Decoder

Build = Callable[[int, int, int], Decoder]


def draw_inputs(grid: tuple[int, int], *, batch: int = 1, channels: int = 4, maps: int = 1) -> dict[str, Tensor]:
    """Random inputs of a decoder with a history, nothing padded."""
    return {
        "query": torch.randn(batch, channels, *grid),
        "prototype": torch.randn(batch, channels),
        "maps": torch.rand(batch, maps, *grid),
        "valid": torch.ones(batch, *grid, dtype=torch.bool),
        "history": torch.rand(batch, 2, *grid),
    }


# The nodes of 473, 417, 641 and 225 pixels at stride 8, an image that is no square, and one of a few pixels.
@pytest.mark.parametrize("grid", [(60, 60), (53, 53), (81, 81), (29, 29), (29, 41), (1, 3)])
@pytest.mark.parametrize("maps", [0, 2])
def test_logits_have_the_size_of_the_nodes(build: Build, grid: tuple[int, int], maps: int) -> None:
    assert build(4, maps, 2)(**draw_inputs(grid, maps=maps)).logits.shape == (1, 2, *grid)


def test_no_decoder_normalises_batches(build: Build) -> None:
    modules = list(build(4, 2, 2).modules())
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in modules)


@pytest.mark.parametrize("changed", ["query", "prototype", "maps", "history"])
def test_every_input_is_read(build: Build, changed: str) -> None:
    decoder, inputs = build(8, 1, 2).eval(), draw_inputs((8, 8), channels=8)
    before = decoder(**inputs).logits
    after = decoder(**{**inputs, changed: inputs[changed] + 1.0}).logits
    assert not torch.allclose(before, after)


def test_every_weight_learns(build: Build) -> None:
    decoder = build(4, 1, 2).eval()
    decoded = decoder(**draw_inputs((16, 16)))
    (decoded.logits.sum() + sum(scale.sum() for scale in decoded.scales)).backward()
    assert all(parameter.grad is not None for parameter in decoder.parameters())


def test_queries_of_a_batch_do_not_mix(build: Build) -> None:
    decoder, inputs = build(4, 1, 2).eval(), draw_inputs((8, 8), batch=3)
    together = decoder(**inputs).logits
    assert_close(together[1:2], decoder(**{name: value[1:2] for name, value in inputs.items()}).logits)


def test_what_is_painted_on_padding_changes_no_bit(build: Build) -> None:
    decoder, inputs = build(4, 1, 2).eval(), draw_inputs((16, 16), batch=2)
    inputs["valid"][0, :, 11:] = False
    inputs["valid"][1, :3] = False
    before, padding = decoder(**inputs), ~inputs["valid"].unsqueeze(1)
    painted = {name: inputs[name].masked_fill(padding, 50.0) for name in ("query", "maps", "history")}
    after = decoder(**{**inputs, **painted})
    assert torch.equal(after.logits, before.logits)
    assert all(torch.equal(one, other) for one, other in zip(after.scales, before.scales, strict=True))


def test_logits_on_padding_are_those_of_the_nodes_beside_it(build: Build) -> None:
    decoder, inputs = build(4, 1, 2).eval(), draw_inputs((16, 16))
    inputs["valid"][:, :, 11:] = False
    logits = decoder(**inputs).logits
    assert torch.equal(logits[..., 11:], logits[..., 10:11].expand(-1, -1, -1, 5))
