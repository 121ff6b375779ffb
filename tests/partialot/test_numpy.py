"""NumPy arrays at the door: the same answers as tensors, as tensors; nothing converted in silence."""

from typing import Any

import numpy as np
import pytest
import torch

import partialot
from partialot.arrays import as_tensor

INPUTS: dict[str, Any] = {
    "cost": np.random.default_rng(0).random((2, 3, 4)),
    "a": np.full((2, 3), 0.5),
    "b": np.full(4, 0.25),
    "mass": np.array([0.25, 0.75]),
    "reg": np.array([0.1, 0.2]),
}
TENSORS: dict[str, Any] = {name: torch.tensor(array) for name, array in INPUTS.items()}


def plan_of(arguments: dict[str, Any]) -> torch.Tensor:
    """The plan of `solve` for arguments by name."""
    others = {name: value for name, value in arguments.items() if name != "cost"}
    return partialot.solve(arguments["cost"], **others).plan


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64], ids=lambda dtype: dtype.__name__)
def test_arrays_are_solved_like_tensors_of_their_type(dtype: type[np.floating]) -> None:
    arrays = {name: array.astype(dtype) for name, array in INPUTS.items()}
    plan = plan_of(arrays)
    assert plan.dtype == torch.from_numpy(arrays["cost"]).dtype
    assert torch.equal(plan, plan_of({name: torch.tensor(array) for name, array in arrays.items()}))


@pytest.mark.parametrize("name", INPUTS)
def test_one_array_may_stand_among_tensors_and_one_tensor_among_arrays(name: str) -> None:
    expected = plan_of(TENSORS)
    assert torch.equal(plan_of(TENSORS | {name: INPUTS[name]}), expected)
    assert torch.equal(plan_of(INPUTS | {name: TENSORS[name]}), expected)


def test_without_reg_arrays_are_solved_exactly() -> None:
    exact = {name: array for name, array in INPUTS.items() if name != "reg"}
    assert torch.equal(plan_of(exact), plan_of({name: TENSORS[name] for name in exact}))


def test_problem_geometry_and_augmentation_take_arrays_and_give_tensors() -> None:
    problem = partialot.Problem.from_inputs(**INPUTS)
    assert all(isinstance(tensor, torch.Tensor) for tensor in (problem.a, problem.b, problem.mass, problem.reg))
    assert torch.equal(partialot.DenseCost(INPUTS["cost"]).cost, TENSORS["cost"])
    names = ("cost", "a", "b", "mass")
    written = partialot.augment(**{name: INPUTS[name] for name in names})
    for found, expected in zip(written, partialot.augment(**{name: TENSORS[name] for name in names}), strict=True):
        assert torch.equal(found, expected)


def test_a_tensor_shares_the_memory_of_its_array() -> None:
    array = np.ones((3, 4))
    cost = partialot.DenseCost(array).cost  # pyright: ignore[reportArgumentType]
    array[1, 2] = 7.0
    assert cost[1, 2] == 7.0


def _read_only(array: np.ndarray) -> np.ndarray:
    frozen = array.copy()
    frozen.flags.writeable = False
    return frozen


RECORDS = np.zeros((2, 3, 4), dtype=[("flag", "i1"), ("cost", "f8")])
RECORDS["cost"] = INPUTS["cost"]
ODD_ARRAYS = {
    "read-only": _read_only(INPUTS["cost"]),
    "broadcast": np.broadcast_to(INPUTS["cost"][0], (2, 3, 4)),
    "backwards": INPUTS["cost"][:, ::-1, ::-1],
    "transposed": INPUTS["cost"].transpose(0, 2, 1).copy().transpose(0, 2, 1),
    "strided": np.repeat(INPUTS["cost"], 2, axis=-1)[..., ::2],
    "big-endian": INPUTS["cost"].astype(">f8"),
    "field of records": RECORDS["cost"],
}


@pytest.mark.parametrize("kind", ODD_ARRAYS)
def test_arrays_that_no_tensor_can_share_are_copied(kind: str) -> None:
    """Without a warning, which would be an error here; what the tensor does not share it cannot spoil."""
    array = ODD_ARRAYS[kind]
    cost = as_tensor("cost", array)
    assert torch.equal(cost, torch.tensor(np.array(array, dtype=np.float64)))
    before = array.copy()
    if not array.flags.writeable:
        cost.fill_(0.0)
        np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize(
    "dtype", [np.int64, np.uint8, np.bool_, np.complex128, np.longdouble, object], ids=lambda dtype: dtype.__name__
)
def test_arrays_of_other_numbers_are_refused_not_truncated(name: str, dtype: type[Any]) -> None:
    wrong = INPUTS[name].astype(dtype)
    match = rf"`{name}` must be real and floating-point .*\. Found {wrong.dtype}\. Convert .*`{name}\.astype"
    with pytest.raises(TypeError, match=match):
        plan_of(INPUTS | {name: wrong})


def test_masked_arrays_are_refused_because_tensors_have_no_mask() -> None:
    masked = np.ma.masked_greater(INPUTS["cost"], 0.5)
    with pytest.raises(TypeError, match=r"`cost` must .* every place\. Found a masked array\. Fill it first: `cost\.f"):
        plan_of(INPUTS | {"cost": masked})


@pytest.mark.parametrize("name", ["a", "b", "mass", "reg"])
def test_an_array_of_another_type_is_refused_naming_both(name: str) -> None:
    match = rf"`{name}` must have the dtype of `cost`\. Found torch\.float32 beside .*64\. .*\.from_numpy\({name}\)\.to"
    with pytest.raises(TypeError, match=match):
        plan_of(INPUTS | {name: INPUTS[name].astype(np.float32)})


def test_an_array_beside_tensors_of_another_device_is_refused() -> None:
    cost = torch.zeros(3, 4, dtype=torch.float64, device="meta")
    with pytest.raises(TypeError, match=r"`a` must be on the device of `cost`\. Found cpu beside meta\. Move"):
        partialot.Problem.from_inputs(cost, np.full(3, 0.5))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", ["cost", "a", "b"])
def test_lists_are_refused_with_the_call_that_converts_them(name: str) -> None:
    match = (
        rf"`{name}` must be a torch\.Tensor or a NumPy array\. Found list\. Convert it .*`torch\.tensor\({name}, dtype"
    )
    with pytest.raises(TypeError, match=match):
        plan_of(INPUTS | {name: INPUTS[name].tolist()})
    with pytest.raises(TypeError, match=r"`cost` must be a torch\.Tensor or a NumPy array\. Found tuple\. Convert"):
        partialot.DenseCost(((0.0, 1.0),))  # pyright: ignore[reportArgumentType]
