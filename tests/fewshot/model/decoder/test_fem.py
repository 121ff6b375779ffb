import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from fewshot.model.decoder import FEMDecoder


def test_a_decoder_of_the_papers_width_has_this_many_weights() -> None:
    # PFENet trains 10.8 million, of which two reductions from 1536 to 256 channels are 0.8 million.
    decoder = FEMDecoder(256, maps=2, history=0)
    assert sum(parameter.numel() for parameter in decoder.parameters()) == 10_037_514


def test_it_answers_at_four_scales() -> None:
    valid = torch.ones(1, 60, 60, dtype=torch.bool)
    decoded = FEMDecoder(4, maps=0, history=0)(
        torch.randn(1, 4, 60, 60), torch.randn(1, 4), torch.zeros(1, 0, 60, 60), valid
    )
    assert [tuple(one.shape[-2:]) for one in decoded.scales] == [(60, 60), (30, 30), (15, 15), (8, 8)]


def test_without_padding_it_pools_and_resizes_as_pfenet_does() -> None:
    decoder = FEMDecoder(4, maps=1, history=0).eval()
    query, prototype, maps = torch.randn(1, 4, 16, 16), torch.randn(1, 4), torch.rand(1, 1, 16, 16)
    found = decoder(query, prototype, maps, torch.ones(1, 16, 16, dtype=torch.bool))
    assert_close(found.scales[0], first_scale(decoder, query, prototype, maps))


def first_scale(decoder: FEMDecoder, query: Tensor, prototype: Tensor, maps: Tensor) -> Tensor:
    """The finest scale by the description of PFENet's section 3.3, layer by layer."""

    def apply(name: str, x: Tensor, padding: int) -> Tensor:
        weight, bias = decoder.get_parameter(f"{name}.weight"), decoder.get_parameter(f"{name}.bias")
        return functional.conv2d(x, weight, bias, padding=padding)

    spread = prototype[..., None, None].expand_as(query)
    x = torch.relu(apply("merge.0.0", torch.cat([query, spread, maps], dim=1), 0))
    x = x + torch.relu(apply("enrich.0.2", torch.relu(apply("enrich.0.0", x, 1)), 1))
    return apply("heads.0.3", torch.relu(apply("heads.0.0", x, 1)), 0)


def test_a_coarse_node_with_little_image_in_it_is_as_strong_as_others() -> None:
    decoder = FEMDecoder(4, maps=0, history=0).eval()
    seen: list[Tensor] = []
    nn.Module.register_forward_pre_hook(decoder.merge[1], lambda _, inputs: seen.append(inputs[0]))
    valid = torch.ones(1, 16, 16, dtype=torch.bool)
    valid[..., 11:] = False
    decoder(torch.full((1, 4, 16, 16), 3.0), torch.zeros(1, 4), torch.zeros(1, 0, 16, 16), valid)
    # The sixth column of two is half padding, the seventh is nothing else.
    assert_close(seen[0][0, 0, 0], torch.tensor([3.0] * 6 + [0.0] * 2))
