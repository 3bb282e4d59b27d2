"""The origin of a loss at hand, without the rest of a check, and the line that is marked in its source."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.load.problem import Problem
from gradscope.nonfinite.find import find_origin
from gradscope.records import Origin, Skipped
from gradscope.trace.program import Tracer

Loss = Callable[[Any, Any], Any]

W = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
X = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
PARAMS = {"w": W}


def looked_for(loss: Loss, params: Any = None, batch: Any = X) -> Origin | Skipped:
    problem = Problem(loss, PARAMS if params is None else params, batch)
    tracer = Tracer(problem)
    return find_origin(tracer.trace(batch), tracer.inputs(batch), batch)


def origin_of(loss: Loss, params: Any = None, batch: Any = X) -> Origin:
    found = looked_for(loss, params, batch)
    assert isinstance(found, Origin), found
    return found


def marked_line(function: Callable[..., Any], mark: str = "# here") -> int:
    lines, first = inspect.getsourcelines(function)
    (number,) = [i for i, line in enumerate(lines) if line.rstrip().endswith(mark)]
    return first + number


def is_finite(loss: Loss, params: Any = None, batch: Any = X) -> bool:
    """The slow way: plain `value_and_grad`."""
    value, gradients = jax.value_and_grad(loss)(PARAMS if params is None else params, batch)
    return all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves((value, gradients)))
