from collections.abc import Callable
from dataclasses import replace

import torch
from torch.testing import assert_close

from fewshot.model.nodes import NodeMasks
from fewshot.model.prior import compute_prior

MakeMasks = Callable[..., NodeMasks]
GRID = (4, 5)


def test_prior_is_the_best_cosine_with_the_object_scaled_per_image(make_masks: MakeMasks) -> None:
    masks, query, supports = make_masks(), torch.rand(2, 6, *GRID), torch.rand(2, 1, 6, *GRID)
    best = torch.zeros(2, 20)
    for task in range(2):
        for node, feature in enumerate(query[task].flatten(1).T):
            best[task, node] = max(
                torch.cosine_similarity(feature, supports[task, 0, :, i, j], dim=0)
                for i, j in masks.foreground[task, 0].nonzero().tolist()
            )
    low, high = best.amin(1, keepdim=True), best.amax(1, keepdim=True)
    assert_close(compute_prior(query, supports, masks).flatten(1), (best - low) / (high - low))


def test_prior_lies_between_zero_and_one_and_ignores_the_scale_of_features(make_masks: MakeMasks) -> None:
    masks, query, supports = make_masks(), torch.randn(2, 6, *GRID), torch.randn(2, 1, 6, *GRID)
    prior = compute_prior(query, supports, masks)
    assert prior.amin((1, 2)).eq(0).all()
    assert prior.amax((1, 2)).eq(1).all()
    assert_close(compute_prior(3 * query, 0.2 * supports, masks), prior)


def test_an_empty_mask_gives_a_prior_of_zeros(make_masks: MakeMasks) -> None:
    masks = replace(make_masks(), foreground=torch.zeros(2, 1, *GRID))
    assert compute_prior(torch.rand(2, 6, *GRID), torch.rand(2, 1, 6, *GRID), masks).eq(0).all()


def test_background_of_the_support_does_not_matter(make_masks: MakeMasks) -> None:
    masks, query, supports = make_masks(), torch.rand(2, 6, *GRID), torch.rand(2, 1, 6, *GRID)
    changed = supports + (masks.foreground == 0).unsqueeze(2)
    assert torch.equal(compute_prior(query, supports, masks), compute_prior(query, changed, masks))


def test_padding_of_the_query_gets_zero_and_does_not_stretch_the_map(make_masks: MakeMasks) -> None:
    query, supports = torch.rand(1, 6, *GRID), torch.rand(1, 1, 6, *GRID)
    valid = torch.ones(1, *GRID, dtype=torch.bool)
    valid[..., -1] = False
    masks = replace(make_masks(batch=1), query_valid=valid)
    prior = compute_prior(query, supports, masks)
    query[..., -1] = supports[0, 0, :, 0, 0].unsqueeze(-1)
    assert prior[..., -1].eq(0).all()
    assert prior.amax() == 1
    assert torch.equal(compute_prior(query, supports, masks), prior)


def test_shots_are_averaged_whatever_their_order(make_masks: MakeMasks) -> None:
    masks, query, supports = make_masks(shot=3), torch.rand(2, 6, *GRID), torch.rand(2, 3, 6, *GRID)
    prior = compute_prior(query, supports, masks)
    assert_close(compute_prior(query, supports.flip(1), masks), prior)
    copies = supports[:, :1].expand(-1, 3, -1, -1, -1)
    assert_close(compute_prior(query, copies, masks), compute_prior(query, supports[:, :1], make_masks()))


def test_prior_carries_no_gradient(make_masks: MakeMasks) -> None:
    query = torch.rand(2, 6, *GRID, requires_grad=True)
    assert not compute_prior(query, torch.rand(2, 1, 6, *GRID), make_masks()).requires_grad


def test_padding_of_the_support_resembles_nothing_not_even_where_the_object_does_less(make_masks: MakeMasks) -> None:
    query, supports = torch.rand(1, 6, *GRID), -torch.rand(1, 1, 6, *GRID)
    valid = torch.ones(1, 1, *GRID, dtype=torch.bool)
    valid[..., -1] = False
    # The object is the whole image, and every similarity is negative.
    masks = replace(make_masks(batch=1), support_valid=valid, foreground=valid.float())
    alone = replace(masks, support_valid=valid[..., :-1], foreground=valid[..., :-1].float())
    assert_close(compute_prior(query, supports, masks), compute_prior(query, supports[..., :-1], alone))
