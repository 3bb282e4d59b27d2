"""Small losses whose cost is known in closed form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from gradscope.load.problem import Problem
from gradscope.trace.program import Inputs, Program, Tracer
from gradscope.workload.account import Account


def ones(*shape: int) -> Any:
    return np.full(shape, 0.1, np.float32)


def traced(loss: Callable[[Any, Any], Any], params: Any, batch: Any) -> tuple[Program, Inputs]:
    tracer = Tracer(Problem(loss, params, batch))
    return tracer.trace(batch), tracer.inputs(batch)


def account_of(loss: Callable[[Any, Any], Any], params: Any, batch: Any) -> Account:
    program, inputs = traced(loss, params, batch)
    return Account(program, inputs.weights, inputs.others)


def products(account: Account, layer: str | None) -> tuple[float, float]:
    """Operations of matrix products and convolutions of a layer, forward and backward."""
    both = account.by_layer[layer]
    kinds = "matrix products", "convolutions"
    forward, backward = (sum(half.kinds[kind] for kind in kinds) for half in (both.forward, both.backward))
    return forward, backward


def compiler_count(loss: Callable[[Any, Any], Any], params: Any, batch: Any) -> dict[str, float]:
    """XLA's, of the loss and its gradient before it optimizes them."""
    lowered = jax.jit(jax.value_and_grad(lambda params: loss(params, batch))).lower(params)
    found: Any = lowered.cost_analysis()
    return dict(found)
