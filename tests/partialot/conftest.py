import pytest

from partialot import blocks


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few blocks of lazy prices, the last of them shorter, in place of one."""
    monkeypatch.setattr(blocks, "_BLOCK", 24)
    monkeypatch.setattr(blocks, "_FEWEST_ROWS", 1)
