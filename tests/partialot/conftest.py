import pytest


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few blocks of lazy prices, the last of them shorter, in place of one."""
    # By name: the oldest jaxtyping watches nothing that is imported before the tests are configured.
    monkeypatch.setattr("partialot.blocks._BLOCK", 24)
    monkeypatch.setattr("partialot.blocks._FEWEST_ROWS", 1)
