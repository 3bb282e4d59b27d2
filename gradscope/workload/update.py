"""The optimizer's own part of a step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from gradscope.footprint.account import shapes_of
from gradscope.records import UpdateCost
from gradscope.trace import jaxprs
from gradscope.trace.compiling import compile_program
from gradscope.workload.timing import OFTEN
from gradscope.workload.walking import steps

Function = Callable[..., Any]
"""Traceable: from weights, gradients, state and loss to the new weights and the new state."""


@dataclass(frozen=True)
class Update:
    record: UpdateCost
    function: Function
    state: Any
    effects: bool
    """It does something beside its results, as a callback does: it is not run again and again."""


def update_of(name: str, function: Function, weights: list[Any], state: Any) -> Update:
    """Counted, and not run; `state` may be shapes."""
    loss = jax.ShapeDtypeStruct((), weights[0].dtype)  # type: ignore[no-untyped-call]
    shapes = shapes_of(weights)
    body = jaxprs.body_of(jax.make_jaxpr(function)(shapes, shapes, state, loss))
    live, _ = jaxprs.live(body, [True] * len(body.jaxpr.outvars))
    found = list(steps(live))
    operations = sum(step.work.operations * step.times for step in found)
    size = sum(step.work.size * step.times for step in found)
    return Update(UpdateCost(name, operations, size), function, state, bool(body.jaxpr.effects))


def compiled_update(update: Update, weights: list[Any], state: Any) -> Callable[[], Any]:
    """Runs it, each time from the same weights, with the weights in the place of the gradient."""
    loss = jax.numpy.zeros((), weights[0].dtype)
    arguments = weights, weights, state, loss
    compiled = compile_program(update.function, arguments, runs=OFTEN)
    return lambda: compiled.start(*arguments)
