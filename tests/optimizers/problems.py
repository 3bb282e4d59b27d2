"""Small problems whose best learning rates are known, or that a plain loop can follow."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.load.problem import Problem

CURVATURES = np.array([1.0, 4.0], np.float32)
"""Of the quadratic: SGD is stable below 2 / 4, and quickest at 2 / (1 + 4)."""


def quadratic(seed: int = 0, **more: Any) -> Problem:
    """Half the sum of curvature times square: deterministic, one batch, other starts for other seeds."""

    def loss(params: Any, batch: Any) -> Any:
        return 0.5 * jnp.sum(batch * params["x"] ** 2)

    def init(seed: int) -> Any:
        return {"x": 1.0 + 0.1 * jax.random.normal(jax.random.PRNGKey(seed), (2,))}

    return Problem(loss, init(seed), CURVATURES, **more).with_factory(init)


def mlp(width: int = 8, rows: int = 64, **more: Any) -> Problem:
    """A regression on shuffled rows: the loss of a step depends on its batch."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 4)).astype(np.float32)
    y = np.sin(x.sum(1, keepdims=True)).astype(np.float32)

    def init(seed: int) -> Any:
        first, second = jax.random.split(jax.random.PRNGKey(seed))
        return {
            "w1": jax.random.normal(first, (4, width)) / 2.0,
            "b1": jnp.zeros(width),
            "w2": jax.random.normal(second, (width, 1)) / width**0.5,
        }

    def loss(params: Any, batch: Any) -> Any:
        x, y = batch
        return jnp.mean((jnp.tanh(x @ params["w1"] + params["b1"]) @ params["w2"] - y) ** 2)

    return Problem(loss, init(0), data=(x, y), batch_size=16, **more).with_factory(init)
