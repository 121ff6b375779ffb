"""On a machine with a GPU, `pytest -m gpu` tests properties and derivatives there too.

The tests are those of the CPU: `partialot.solve` takes their inputs to the GPU and brings what it finds home, and
derivatives flow through both.
"""

import pytest
import torch

_TOO = {
    "test_capped.py",
    "test_certificate.py",
    "test_entropic_against_reference.py",
    "test_gradients.py",
    "test_gradients_at_the_edges.py",
    "test_invariances.py",
    "test_padding.py",
    "test_price.py",
    "test_solution.py",
    "test_amounts.py",
    "test_derivatives.py",
    "test_forbidden_pairs.py",
}
"""Files whose tests a GPU has to pass as well."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let `-m gpu` choose them."""
    if config.option.markexpr == "gpu":
        for item in items:
            if item.path.name in _TOO and "partialot" in item.path.parts:
                item.add_marker(pytest.mark.gpu)


@pytest.fixture(autouse=True)
def solves_on_gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Solve on the GPU what is tested there."""
    if request.node.path.name in _TOO and request.node.get_closest_marker("gpu") is not None:
        # Here, for the oldest jaxtyping watches nothing that is imported before the tests are configured.
        import partialot
        from tests.partialot.elsewhere import solving_on

        monkeypatch.setattr(partialot, "solve", solving_on(torch.device("cuda"), partialot.solve))
