import pytest
import torch

from fewshot.episode import Episode
from fewshot.model.prediction import Prediction


@pytest.fixture
def episode() -> Episode:
    """Two tasks of two shots; the object lies in the upper left quarter of each support."""
    masks = torch.zeros(2, 2, 16, 16, dtype=torch.long)
    masks[..., :8, :8] = 1
    truth = torch.zeros(2, 24, 32, dtype=torch.long)
    truth[:, :12] = 1
    truth[:, -2:] = 255
    return Episode(torch.randn(2, 2, 3, 16, 16), masks, torch.randn(2, 3, 24, 32), query_mask=truth)


@pytest.fixture
def prediction() -> Prediction:
    """Four support nodes and six query nodes; node 0 of each support sends most to node 5 of the query."""
    plan = torch.full((2, 2, 4, 6), 0.01)
    plan[:, :, 0, 5] = 0.7
    maps = torch.rand(2, 2, 3)
    return Prediction(
        torch.randn(2, 2, 24, 32),
        prior_map=maps,
        transport_map=maps,
        plan=plan,
        query_grid=(2, 3),
        support_grid=(2, 2),
    )
