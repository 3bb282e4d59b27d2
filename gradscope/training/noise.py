"""How much the gradients of different batches agree at the start: a pass over them, where the loss hardly
falls."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.records import GradientNoise, Intervention
from gradscope.training.optimizer import widened
from gradscope.training.trainer import Trainer

FEWEST_BATCHES = 4


def gradient_noise(made: Trainer, batches: int, trials: tuple[Intervention, ...]) -> GradientNoise | None:
    """From the norm of their mean and the mean of their squared norms, without bias (McCandlish et al. 2018,
    appendix A). `None` where nothing was tried, as the loss falls, or with too few batches."""
    if batches < FEWEST_BATCHES or not trials:
        return None
    total: list[Any] = []
    squares = []
    for step in range(batches):
        _, gradients = made.flow.loss_and_gradients(made.feed.at(step, made.weights))
        wide = [widened(each) for each in gradients]
        squares.append(_square(wide))
        total = wide if not total else [a + b for a, b in zip(total, wide, strict=True)]
    mean_square = float(np.mean(jax.device_get(squares)))
    of_mean = float(_square(total)) / batches**2
    if not (np.isfinite(mean_square) and mean_square > 0):
        return None
    signal = (batches * of_mean - mean_square) / (batches - 1)
    return GradientNoise(batches, made.feed.rows, min(signal / mean_square, 1.0))


def _square(leaves: list[Any]) -> Any:
    return sum(jnp.sum(jnp.square(each)) for each in leaves)
