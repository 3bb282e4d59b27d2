"""What the static pass says of one expression of logits: x is what a layer gives, [16, 4]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from gradscope.load.problem import Problem
from gradscope.trace.domains.intervals import find_hazards
from gradscope.trace.program import Tracer

RNG = np.random.default_rng(4)
PARAMS = {"w": RNG.normal(size=(8, 4)).astype(np.float32)}
BATCH = {
    "x": RNG.normal(size=(16, 8)).astype(np.float32),
    "y": RNG.integers(0, 4, 16),
    "mask": np.ones((16, 4), np.float32),
}

Expression = Callable[..., Any]


def loss_of(expression: Expression) -> Callable[[Any, Any], Any]:
    """`expression(z, batch)` of the layer's output, averaged."""

    def loss_fn(params: Any, batch: Any) -> Any:
        return jnp.mean(expression(batch["x"] @ params["w"], batch))

    return loss_fn


def kinds(expression: Expression) -> set[str]:
    """Of the hazards that the program reaches, whatever is measured of them."""
    problem = Problem(loss_of(expression), PARAMS, BATCH)
    return {hazard.kind for hazard in find_hazards(Tracer(problem).trace(BATCH), BATCH)}
