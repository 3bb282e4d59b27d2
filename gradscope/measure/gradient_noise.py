"""Signal and noise of gradients, from the norm of their mean and the mean of their squared norms."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from gradscope.records import GradientNoise


def noise_of(count: int, rows: int | None, of_mean: float, mean_square: float) -> GradientNoise | None:
    """Without bias (McCandlish et al. 2018, appendix A.1): of `count` gradients of so many `rows` each, which
    are small batches of one that is `count` times as large. `None` where a number is not finite, or all are
    0."""
    if not (np.isfinite(of_mean) and np.isfinite(mean_square) and mean_square > 0):
        return None
    return GradientNoise(count, rows, signal_of(count, of_mean, mean_square))


def signal_of(count: int, of_mean: float, mean_square: float) -> float:
    """Expected inner product of two of them, over that of one with itself."""
    return min((count * of_mean - mean_square) / (count - 1) / mean_square, 1.0)


def square(leaves: list[Any]) -> Any:
    return sum(jnp.sum(jnp.square(each)) for each in leaves)
