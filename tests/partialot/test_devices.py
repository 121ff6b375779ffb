"""What a GPU asks of the code, as far as it can be asked without one: that nothing is made on the device at hand."""

import pytest
import torch

import partialot
from partialot.geometry.storage import Storage
from partialot.kernels import cpu, dispatch
from tests.partialot.kernels.asking import ask_nothing

KINDS = {
    "balanced": {"reg": 0.2},
    "partial": {"mass": 0.4, "reg": 0.2},
    "small reg": {"mass": 0.9, "reg": 2e-3},
    "capped": {"mass": 0.4, "reg": 0.2, "formulation": "capped"},
    "priced": {"mass": partialot.Price(0.3), "reg": 0.2},
    "unrolled": {"mass": 0.4, "reg": 0.2, "gradient": partialot.Unrolled()},
}


def problem() -> list[torch.Tensor]:
    """Two problems with forbidden pairs and nodes of weight 0."""
    cost, a, b = torch.rand(2, 9, 12), torch.rand(2, 9) + 0.2, torch.rand(2, 12) + 0.2
    cost[0, 1, 3], a[0, 4] = torch.inf, 0.0
    return [cost, a / a.sum(-1, keepdim=True), b / b.sum(-1, keepdim=True)]


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the way that tensors of other devices take, in plain PyTorch."""
    monkeypatch.setattr(cpu, "available", lambda _: False)
    monkeypatch.setattr(dispatch, "gains_by_storing", lambda _: False)
    ask_nothing(monkeypatch)


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_are_made_where_the_inputs_are(kind: str) -> None:
    """A number that has no memory, as one made on the wrong device would be, fits to nothing else."""
    inputs = [tensor.requires_grad_() for tensor in problem()]
    with torch.device("meta"):
        solution = partialot.solve(*inputs, **KINDS[kind])
        (solution.plan.square().sum() + solution.value.sum() + solution.potentials[0].sum()).backward()
        again = partialot.solve(
            *(tensor.detach() for tensor in inputs), **KINDS[kind] | {"gradient": partialot.Implicit()}, init=solution
        )
        certificate = again.certificate()
    for made in (again.plan, certificate.gap, *(tensor.grad for tensor in inputs)):
        assert made is not None
        assert made.device.type == "cpu"


@pytest.mark.parametrize("storage", ["matrix", "blocks"])
def test_clouds_are_priced_where_they_are(storage: Storage) -> None:
    x, y = torch.rand(2, 9, 3).requires_grad_(), torch.rand(2, 12, 3)
    with torch.device("meta"):
        solution = partialot.solve(partialot.PointCloud(x, y, storage=storage), mass=0.4, reg=0.2)
        (solution.value.sum() + solution.apply(y).square().sum()).backward()
    assert x.grad is not None
    assert x.grad.device.type == "cpu"
