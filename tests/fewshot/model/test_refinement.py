import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fewshot.model.decoder import ASPPDecoder, Decoded
from fewshot.model.refinement import HISTORY_CHANNELS, MaskRefinement


def make_refinement(*, passes: int, probability: float = 0.3) -> MaskRefinement:
    history = HISTORY_CHANNELS if passes else 0
    decoder = ASPPDecoder(4, maps=1, history=history, dilations=(1,), dropout=0.0)
    return MaskRefinement(decoder, passes=passes, probability=probability)


def run(refinement: MaskRefinement) -> tuple[Decoded, ...]:
    generator = torch.Generator().manual_seed(1)
    query, prototype = torch.randn(2, 4, 6, 6, generator=generator), torch.randn(2, 4, generator=generator)
    valid = torch.ones(2, 6, 6, dtype=torch.bool)
    return refinement(query, prototype, torch.rand(2, 1, 6, 6, generator=generator), valid)


@pytest.mark.parametrize("passes", [0, 1, 4])
def test_prediction_makes_a_fixed_number_of_further_passes(passes: int) -> None:
    assert len(run(make_refinement(passes=passes).eval())) == passes + 1


@pytest.mark.parametrize(("probability", "count"), [(0.0, 1), (1.0, 2)])
def test_training_makes_one_further_pass_or_none(probability: float, count: int) -> None:
    assert len(run(make_refinement(passes=4, probability=probability).train())) == count


def test_training_draws_the_further_pass_with_its_probability() -> None:
    refinement = make_refinement(passes=4, probability=0.3).train()
    counts = [len(run(refinement)) for _ in range(200)]
    assert 30 <= counts.count(2) <= 90


def test_each_pass_sees_the_softmax_of_the_last_without_gradient() -> None:
    refinement = make_refinement(passes=2).eval()
    seen: list[Tensor] = []
    refinement.get_submodule("decoder.first").register_forward_pre_hook(lambda _, inputs: seen.append(inputs[2]))
    passes = run(refinement)
    assert seen[0].eq(0).all()
    assert_close(seen[1], passes[0].logits.softmax(1))
    assert_close(seen[2], passes[1].logits.softmax(1))
    assert not any(history.requires_grad for history in seen)


def test_further_passes_change_the_answer() -> None:
    passes = run(make_refinement(passes=2).eval())
    assert not torch.allclose(passes[0].logits, passes[1].logits)
