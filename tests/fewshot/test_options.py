import pytest

from fewshot.options import require_choice, require_not_negative, require_positive


@pytest.mark.parametrize("value", [0, -1, -0.5, float("nan")], ids=str)
def test_settings_that_are_not_positive_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"`steps` must be positive\. Found `steps = .*`\. Pass a number above 0"):
        require_positive("steps", value)


def test_settings_that_are_none_of_their_choices_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one of sgd, adamw\. Found `optimizer = 'adam'`\. Correct its spelling"):
        require_choice("optimizer", "adam", ("sgd", "adamw"))


@pytest.mark.parametrize("value", [-1, -0.5, float("nan")], ids=str)
def test_settings_below_nothing_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"`decay` must be at least 0\. Found `decay = .*`\. Pass 0 to be without"):
        require_not_negative("decay", value)


def test_allowed_settings_pass() -> None:
    require_not_negative("decay", 0)
    require_positive("steps", 1)
    require_choice("optimizer", "sgd", ("sgd", "adamw"))
