import pytest
import torch

from fewshot.model.heads import HeadName, PyramidHead, build_head


@pytest.mark.parametrize("name", ["ppm", "linear"])
@pytest.mark.parametrize("grid", [(7, 9), (3, 5)], ids=str)
def test_every_node_gets_a_logit_for_every_class(name: HeadName, grid: tuple[int, int]) -> None:
    assert build_head(name, 8, 5)(torch.randn(2, 8, *grid)).shape == (2, 5, *grid)


def reach(name: HeadName) -> torch.Tensor:
    """Tell which nodes the logits of the first node depend on."""
    features = torch.randn(1, 64, 12, 12, requires_grad=True)
    build_head(name, 64, 3).eval()(features)[0, :, 0, 0].sum().backward()
    assert features.grad is not None
    return features.grad[0].abs().sum(0) > 0


def test_the_linear_head_looks_at_a_node_alone_and_the_pyramid_at_the_whole_image() -> None:
    assert reach("linear").nonzero().tolist() == [[0, 0]]
    assert reach("ppm").all()


def test_the_pyramid_keeps_the_width_of_pspnet() -> None:
    """2048 channels: four reductions to 512, one merging convolution of 3 x 3 from 4096 to 512, one classifier."""
    shapes = [tuple(weight.shape) for weight in PyramidHead(2048, 16).parameters() if weight.dim() == 4]
    assert shapes == [(512, 2048, 1, 1)] * 4 + [(512, 4096, 3, 3), (16, 512, 1, 1)]
