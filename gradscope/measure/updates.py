"""The first update of the user's own optimizer, inside the flow pass: what a step would do to each weight.

Under Adam the size of a gradient says little about the size of a step, so where an optimizer is given the
real update is measured against the weight.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax import Array

from gradscope.load.problem import Problem
from gradscope.records import Skipped
from gradscope.trace.program import Inputs, Tracer


class Updates:
    """Traceable: the updates of the differentiated leaves, from a fresh optimizer state."""

    def __init__(self, tracer: Tracer, optimizer: Any, packed: Callable[[Any], Any]) -> None:
        self._tracer = tracer
        self._optimizer = optimizer
        self._packed = packed

    def __call__(self, loss: Array, gradients: list[Array], weights: list[Array]) -> list[Array]:
        import optax  # here, because it takes 80 ms to import and few files give an optimizer

        places, params, found = (
            self._packed(self._tracer.tree(leaves)) for leaves in (range(len(weights)), weights, gradients)
        )
        optimizer = optax.with_extra_args_support(self._optimizer)
        updates, _ = optimizer.update(found, optimizer.init(params), params, value=loss, grad=found)
        ordered = dict(zip(jax.tree.leaves(places), jax.tree.leaves(updates), strict=True))
        leaves = [ordered[place] for place in range(len(weights))]
        if [leaf.shape for leaf in leaves] != [weight.shape for weight in weights]:
            raise ValueError("its updates do not have the shapes of the parameters")
        return leaves


def updates_of(
    problem: Problem, tracer: Tracer, inputs: Inputs
) -> tuple[Updates | None, tuple[Skipped, ...]]:
    """The updates of the problem's optimizer, or why they cannot be measured."""
    if problem.optimizer is None:
        return None, ()
    updates = Updates(tracer, problem.optimizer, problem.packed)
    try:
        jax.eval_shape(updates, 0.0, inputs.weights, inputs.weights)
    except Exception as error:  # an optimizer may ask for anything: a value function, a Hessian, labels
        reason = f"it cannot make a step from gradients alone ({type(error).__name__}: {_first_line(error)})"
        return None, (Skipped("updates of the optimizer", reason),)
    return updates, ()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0].rstrip(".")
