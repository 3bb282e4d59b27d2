"""How much the gradients of different batches agree at the start: a pass over them, where the loss hardly
falls."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from gradscope.measure.gradient_noise import noise_of, square
from gradscope.records import GradientNoise, Intervention
from gradscope.training.optimizer import widened
from gradscope.training.trainer import Trainer

FEWEST_BATCHES = 4


def gradient_noise(made: Trainer, batches: int, trials: tuple[Intervention, ...]) -> GradientNoise | None:
    """`None` where nothing was tried, as the loss falls, or with too few batches."""
    if batches < FEWEST_BATCHES or not trials:
        return None
    total: list[Any] = []
    squares = []
    for step in range(batches):
        _, gradients = made.flow.loss_and_gradients(made.feed.at(step, made.weights))
        wide = [widened(each) for each in gradients]
        squares.append(square(wide))
        total = wide if not total else [a + b for a, b in zip(total, wide, strict=True)]
    mean_square = float(np.mean(jax.device_get(squares)))
    return noise_of(batches, made.feed.rows, float(square(total)) / batches**2, mean_square)
