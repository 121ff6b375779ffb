import pytest

from fewshot.training.schedules import count_steps, polynomial_factor, require_length


def factors(*, steps: int = 100, power: float = 0.9, warmup: int = 0) -> list[float]:
    return [polynomial_factor(step, steps=steps, power=power, warmup=warmup) for step in range(steps + 1)]


def test_learning_rate_falls_from_all_to_nothing() -> None:
    found = factors()
    assert found[0] == 1.0
    assert found[50] == pytest.approx(0.5**0.9)
    assert found[100] == 0.0
    assert found == sorted(found, reverse=True)


def test_warm_up_lets_the_learning_rate_rise_first() -> None:
    found = factors(warmup=10)
    assert found[0] == pytest.approx(1 / 11)
    assert found.index(max(found)) == 10
    assert found[10:] == factors()[10:]


def test_an_epoch_leaves_out_an_incomplete_batch() -> None:
    """PASCAL-5i, fold 0: 4,760 images make 1,190 batches of 4, and 238,000 in the paper's 200 epochs."""
    assert count_steps(200, None, default=1, images=4760, batch_size=4) == 238_000
    assert count_steps(2, None, default=1, images=11, batch_size=4) == 4


def test_a_length_in_steps_does_not_ask_for_images() -> None:
    assert count_steps(None, 7, default=1, images=0, batch_size=4) == 7


def test_an_epoch_without_a_whole_batch_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Found 3 images for batches of 4\. Lower `batch_size`, or"):
        count_steps(1, None, default=1, images=3, batch_size=4)


def test_without_a_length_there_is_a_default_of_epochs() -> None:
    require_length(None, None)
    assert count_steps(None, None, default=3, images=8, batch_size=4) == 6


def test_a_length_that_is_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Found `epochs = 2` and `steps = 3`\. Set one of them to null"):
        require_length(2, 3)


@pytest.mark.parametrize(("epochs", "steps", "name"), [(0, None, "epochs"), (None, -1, "steps")])
def test_a_length_of_nothing_is_refused(epochs: int | None, steps: int | None, name: str) -> None:
    with pytest.raises(ValueError, match=rf"`{name}` must be positive\. Found"):
        require_length(epochs, steps)
