"""How long a training takes, and how its learning rate rises and falls."""

from fewshot.options import require_positive


def require_length(epochs: int | None, steps: int | None) -> None:
    """Make sure that a length is given once at most.

    Raises:
        ValueError: It is given in both units, or is not positive.
    """
    if epochs is not None and steps is not None:
        raise ValueError(
            f"The length of a training must be given in one of `epochs` and `steps`. Found `epochs = {epochs}` and "
            f"`steps = {steps}`. Set one of them to null."
        )
    for name, value in (("epochs", epochs), ("steps", steps)):
        if value is not None:
            require_positive(name, value)


def count_steps(epochs: int | None, steps: int | None, *, default: int, images: int, batch_size: int) -> int:
    """Give the number of weight updates.

    Args:
        epochs: Length in rounds of all images; an incomplete last batch of a round is left out, as the field does.
        steps: Length in updates.
        default: Epochs where neither is given.
        images: How many there are.
        batch_size: How many an update takes.

    Raises:
        ValueError: An epoch holds no whole batch.
    """
    if steps is not None:
        return steps
    if images < batch_size:
        raise ValueError(
            f"An epoch must hold at least one batch. Found {images} images for batches of {batch_size}. Lower "
            f"`batch_size`, or give the length in `steps`."
        )
    return (default if epochs is None else epochs) * (images // batch_size)


def polynomial_factor(step: int, *, steps: int, power: float, warmup: int) -> float:
    """Give the share of the learning rate that holds at a step.

    Args:
        step: Counted from 0; `steps` is the end, where nothing is left.
        steps: Length of the training.
        power: Exponent of the fall, which begins at once: (1 - step / steps)^power.
        warmup: Steps in which a linear rise is laid over it, 0 for none.
    """
    return min(1.0, (step + 1) / (warmup + 1)) * max(0.0, 1.0 - step / steps) ** power
