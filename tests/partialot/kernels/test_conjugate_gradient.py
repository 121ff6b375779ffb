"""Conjugate gradients against direct solutions."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import partialot
from partialot.kernels.conjugate_gradient import LinearSolution, conjugate_gradient


def positive_definite(size: int = 6) -> Tensor:
    root = torch.randn(3, size, size, dtype=torch.float64)
    return root @ root.mT + 0.1 * torch.eye(size, dtype=torch.float64)


def solve(matrix: Tensor, right: Tensor, *, tol: float = 1e-12, max_iter: int = 200) -> LinearSolution:
    diagonal = matrix.diagonal(dim1=-2, dim2=-1)
    return conjugate_gradient(
        lambda x: (matrix @ x.unsqueeze(-1)).squeeze(-1), right, diagonal, tol=tol, max_iter=max_iter
    )


def test_the_solution_is_the_direct_one() -> None:
    matrix, right = positive_definite(), torch.randn(3, 6, dtype=torch.float64)
    solution = solve(matrix, right)
    assert_close(solution.x, torch.linalg.solve(matrix, right.unsqueeze(-1)).squeeze(-1), rtol=1e-8, atol=1e-8)
    assert (solution.residual <= 1e-12).all()


def test_a_singular_system_is_solved_within_its_range() -> None:
    matrix = torch.diag(torch.tensor([1.0, 2.0, 0.0], dtype=torch.float64))[None]
    found = conjugate_gradient(
        lambda x: (matrix @ x.unsqueeze(-1)).squeeze(-1),
        torch.tensor([[3.0, 4.0, 0.0]], dtype=torch.float64),
        torch.ones(1, 3, dtype=torch.float64),
        tol=1e-12,
        max_iter=10,
    )
    assert_close(found.x, torch.tensor([[3.0, 2.0, 0.0]], dtype=torch.float64))


def test_no_right_hand_side_takes_no_product() -> None:
    solution = solve(positive_definite(), torch.zeros(3, 6, dtype=torch.float64))
    assert (solution.n_iter == 0).all()
    assert (solution.x == 0).all()
    assert (solution.residual == 0).all()


def test_each_system_stops_on_its_own() -> None:
    matrix = positive_definite()
    matrix[0] = torch.eye(6, dtype=torch.float64)
    solution = solve(matrix, torch.randn(3, 6, dtype=torch.float64))
    assert solution.n_iter[0] == 1
    assert (solution.n_iter[1:] > 1).all()


def test_tolerances_and_limits_may_differ_from_problem_to_problem() -> None:
    matrix, right = positive_definite(), torch.randn(3, 6, dtype=torch.float64)
    found = conjugate_gradient(
        lambda x: (matrix @ x.unsqueeze(-1)).squeeze(-1),
        right,
        matrix.diagonal(dim1=-2, dim2=-1),
        tol=torch.tensor([0.5, 1e-12, 1e-12], dtype=torch.float64),
        max_iter=torch.tensor([200, 200, 2]),
    )
    assert found.residual[0] <= 0.5
    assert found.n_iter[0] < found.n_iter[1]
    assert found.residual[1] <= 1e-12
    assert found.n_iter[2] == 2


def test_a_solution_out_of_reach_ends_a_problem() -> None:
    matrix, right = positive_definite(), torch.randn(3, 6, dtype=torch.float64)
    diagonal = matrix.diagonal(dim1=-2, dim2=-1)
    found = conjugate_gradient(
        lambda x: (matrix @ x.unsqueeze(-1)).squeeze(-1), right, diagonal, tol=1e-12, max_iter=200, reach=1e-3
    )
    assert (found.n_iter == 1).all()
    assert ((found.x.square() * diagonal).sum(-1) > 1e-6).all()


def test_the_residual_tells_what_too_few_products_left() -> None:
    matrix, right = positive_definite(), torch.randn(3, 6, dtype=torch.float64)
    solution = solve(matrix, right, max_iter=2)
    left = (right - (matrix @ solution.x.unsqueeze(-1)).squeeze(-1)).norm(dim=-1) / right.norm(dim=-1)
    assert_close(solution.residual, left)


def test_a_backward_pass_that_stops_early_says_so() -> None:
    cost = torch.rand(6, 7, dtype=torch.float64, requires_grad=True)
    solution = partialot.solve(cost, mass=0.7, reg=0.01, gradient=partialot.Implicit(max_iter=1))
    with pytest.warns(partialot.ConvergenceWarning, match=r"It stopped at .* after 1 products\. Raise `Implicit"):
        solution.plan[0, 0].backward()
