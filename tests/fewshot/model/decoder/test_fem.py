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


def test_without_padding_it_is_pfenets_module_layer_by_layer() -> None:
    decoder = FEMDecoder(4, maps=1, history=0).eval()
    query, prototype, maps = torch.randn(1, 4, 16, 16), torch.randn(1, 4), torch.rand(1, 1, 16, 16)
    found = decoder(query, prototype, maps, torch.ones(1, 16, 16, dtype=torch.bool))
    logits, scales = decode_by_description(decoder, query, prototype, maps)
    assert_close(found.logits, logits)
    for one, other in zip(found.scales, scales, strict=True):
        assert_close(one, other)


def decode_by_description(
    decoder: FEMDecoder, query: Tensor, prototype: Tensor, maps: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """PFENet's section 3.3 in plain functions, with the decoder's weights: final logits, and those of each scale."""

    def convolve(name: str, x: Tensor) -> Tensor:
        weight = decoder.get_parameter(f"{name}.weight")
        return functional.conv2d(x, weight, decoder.get_parameter(f"{name}.bias"), padding=weight.shape[-1] // 2)

    def enrich(name: str, x: Tensor) -> Tensor:
        return x + torch.relu(convolve(f"{name}.2", torch.relu(convolve(f"{name}.0", x))))

    def classify(name: str, x: Tensor) -> Tensor:
        return convolve(f"{name}.3", torch.relu(convolve(f"{name}.0", x)))

    def resize(x: Tensor, side: int) -> Tensor:
        return functional.interpolate(x, (side, side), mode="bilinear", align_corners=True)

    features: list[Tensor] = []
    for scale, side in enumerate((16, 8, 4, 2)):
        pooled = functional.adaptive_avg_pool2d(query, side)
        stack = torch.cat([pooled, prototype[..., None, None].expand_as(pooled), resize(maps, side)], dim=1)
        x = torch.relu(convolve(f"merge.{scale}.0", stack))
        if features:
            finer = resize(features[-1], side)
            x = x + torch.relu(convolve(f"pass_down.{scale - 1}.0", torch.cat([x, finer], dim=1)))
        features.append(enrich(f"enrich.{scale}", x))
    fused = torch.relu(convolve("fuse.0", torch.cat([resize(x, 16) for x in features], dim=1)))
    scales = [classify(f"heads.{scale}", x) for scale, x in enumerate(features)]
    return classify("classify", enrich("refine", fused)), scales


def test_a_coarse_node_with_little_image_in_it_is_as_strong_as_others() -> None:
    decoder = FEMDecoder(4, maps=0, history=0).eval()
    seen: list[Tensor] = []
    nn.Module.register_forward_pre_hook(decoder.merge[1], lambda _, inputs: seen.append(inputs[0]))
    valid = torch.ones(1, 16, 16, dtype=torch.bool)
    valid[..., 11:] = False
    decoder(torch.full((1, 4, 16, 16), 3.0), torch.zeros(1, 4), torch.zeros(1, 0, 16, 16), valid)
    # The sixth column of two is half padding, the seventh is nothing else.
    assert_close(seen[0][0, 0, 0], torch.tensor([3.0] * 6 + [0.0] * 2))


def test_padding_does_not_dilute_what_a_scale_hands_to_the_next() -> None:
    decoder = FEMDecoder(4, maps=0, history=0).eval()
    for parameter in decoder.enrich.parameters():
        nn.init.zeros_(parameter)
    seen: list[Tensor] = []
    nn.Module.register_forward_pre_hook(decoder.pass_down[0], lambda _, inputs: seen.append(inputs[0][:, 4:]))
    valid = torch.ones(1, 16, 16, dtype=torch.bool)
    valid[..., 11:] = False
    decoder(torch.full((1, 4, 16, 16), 3.0), torch.ones(1, 4), torch.zeros(1, 0, 16, 16), valid)
    # Equal nodes stay equal: the sixth of eight columns lies between a valid node and a padded one.
    handed = seen[0][..., :6]
    assert_close(handed, handed[..., :1, :1].expand_as(handed))
    assert handed.any()
