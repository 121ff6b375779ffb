"""Who computes the primitives: plain PyTorch, native kernels, and kernels in Triton, interpreted where no GPU is."""

from types import SimpleNamespace

import pytest

from partialot.kernels import border, cpu, native, reference
from tests.partialot.kernels.asking import ask_nothing
from tests.partialot.kernels.on_device import MARKS, triton_kernels

NATIVE = pytest.param(
    cpu,
    marks=pytest.mark.skipif(native.library() is None, reason="no C++ compiler with OpenMP was found"),
    id="native",
)
PLAIN = SimpleNamespace(
    row_pass=reference.row_pass,
    write_out=reference.write_out,
    sandwich=reference.sandwich,
    evaluated_sandwich=reference.evaluated_sandwich,
    column_minima=reference.column_minima,
    row_minima=reference.row_minima,
    measure=border.measure,
    update=border.update,
)
TRITON = pytest.param(triton_kernels, marks=MARKS, id="triton")


@pytest.fixture(params=[pytest.param(PLAIN, id="plain"), pytest.param(None, id="plain-elsewhere"), NATIVE, TRITON])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Primitives by each of those who compute them; plain PyTorch takes another way where the host must not wait."""
    if request.param is None:
        ask_nothing(monkeypatch)
    return request.param or PLAIN


@pytest.fixture(params=[pytest.param(PLAIN, id="plain"), pytest.param(None, id="plain-elsewhere"), TRITON])
def evaluating_kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Primitives by those who take all of them from costs."""
    if request.param is None:
        ask_nothing(monkeypatch)
    return request.param or PLAIN


@pytest.fixture(params=[pytest.param(PLAIN, id="plain"), NATIVE])
def storing_kernels(request: pytest.FixtureRequest) -> SimpleNamespace:
    """Primitives by those whose passes can store a kernel: where exponentials are free beside the memory, none does."""
    return request.param
