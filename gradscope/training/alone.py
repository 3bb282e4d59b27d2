"""An optimizer without a training: what its steps make of a gradient, and the curvature that they stand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import jax.numpy as jnp
import numpy as np

from gradscope.records import OwnRate, ParameterGroup
from gradscope.trace.compiling import Compiled, compile_program
from gradscope.trace.program import Inputs, Program
from gradscope.trace.spread import started
from gradscope.training.optimizer import Leaves, StepRule
from gradscope.training.parameter_groups import ALIKE, OptimizerProbe, filled

AFTER = 3
"""Steps without a gradient, after one with it."""
SLIGHT = 1e-3
"""Of the first step: what is below it is no momentum."""
SETTLED = 2000
"""Steps on a parabola after which they have shrunk or grown."""
BESIDE = 0.02
"""Of the curvature that is stood: so much below it the steps have to shrink, above it to grow."""


class OptimizerAlone:
    """Steps of an optimizer for gradients that are given; nothing is differentiated for it."""

    def __init__(self, rule: StepRule, program: Program, inputs: Inputs) -> None:
        self.rule = rule
        self.names = [leaf.name for leaf in program.leaves]
        self.weights = [jnp.asarray(weight) for weight in inputs.weights]
        self._program, self._inputs = program, inputs
        self._fresh = started(rule.fresh, (self.weights,))
        self._step: Compiled | None = None

    def gradients(self) -> tuple[Any, Leaves]:
        """Zeros: it is asked about made ones."""
        return jnp.zeros(()), filled(self.weights, 0.0)

    def fresh(self, weights: Leaves) -> Any:
        return self._fresh(weights)

    def asked(self, weights: Leaves, gradients: Leaves, state: Any, loss: Any) -> tuple[Leaves, Any]:
        dtype = self._program.body.jaxpr.outvars[0].aval.dtype
        given = weights, gradients, state, jnp.asarray(loss, dtype), self._inputs.others
        if self._step is None:
            self._step = compile_program(self._asked, given, runs=1)
        updates, state = self._step(*given)
        return updates, state

    def first_update(self, gradients: Leaves, loss: float) -> Leaves:
        """From a fresh state."""
        own = [jnp.asarray(g, w.dtype) for g, w in zip(gradients, self.weights, strict=True)]
        return self.asked(self.weights, own, self.fresh(self.weights), loss)[0]

    def _asked(self, weights: Leaves, gradients: Leaves, state: Any, loss: Any, others: Leaves) -> Any:
        consts = list(self._program.body.consts)
        return self.rule(
            weights, gradients, state, loss, lambda moved: self._program.loss(moved, others, consts)
        )


def own_rate(made: OptimizerAlone, probe: OptimizerProbe, groups: Sequence[ParameterGroup]) -> OwnRate:
    """Of the groups that are not frozen, where all of them are treated alike."""
    moved = [group for group in groups if group.transform != "frozen"]
    kinds = {(group.transform, group.rate) for group in moved}
    if len(kinds) != 1:
        reason = "it moves nothing" if not kinds else "it treats some parameters otherwise than others"
        return OwnRate("several" if kinds else "frozen", reason=reason)
    transform, rate = kinds.pop()
    if transform == "fixed":
        return OwnRate(
            transform, rate, reason="its first steps have the same size whatever the gradient, as Adam's"
        )
    if transform != "proportional" or rate is None:
        return OwnRate(transform, rate, reason="its steps are in no proportion to the gradient")
    if probe.steps != 1:
        return OwnRate(transform, rate, reason="its first step moves nothing, as in a warm-up")
    names = set(moved[0].leaves)
    at = next(place for place, leaf in enumerate(made.names) if leaf in names)
    response = impulse_response(made, at)
    (later,) = impulse_response(made, at, before=1, after=0)
    if abs(later - response[0]) > ALIKE * abs(response[0]):
        return OwnRate(transform, rate, reason="its rate changes from step to step")
    momentum = momentum_of(response)
    if momentum is None:
        return OwnRate(transform, rate, reason="its steps after a gradient do not fade by one factor")
    stable = stable_curvature(response, momentum)
    reason = "" if stable is not None else "its steps on a parabola do not shrink or grow as computed"
    return OwnRate(transform, rate, float(f"{momentum:.3g}"), stable, reason)


def impulse_response(made: OptimizerAlone, leaf: int, before: int = 0, after: int = AFTER) -> list[float]:
    """By how much an element falls at a step with a small gradient and at some without after it, over that
    gradient; some without may come `before`."""
    size = 2.0 ** round(math.log2(0.05 / math.sqrt(max(sum(each.size for each in made.weights), 1))))
    zeros, gradients = filled(made.weights, 0.0), filled(made.weights, size)
    state, found = made.fresh(zeros), []
    for _ in range(before):
        _, state = made.asked(zeros, zeros, state, made.gradients()[0])
    for _ in range(1 + after):
        updates, state = made.asked(zeros, gradients, state, made.gradients()[0])
        found.append(-float(np.ravel(np.asarray(updates[leaf], np.float64))[0]) / size)
        gradients = zeros
    return found


def momentum_of(response: Sequence[float]) -> float | None:
    """The factor by which steps fade once the gradient is zero; `None` where it is not one in [0, 1)."""
    first, *rest = response
    if all(abs(each) <= SLIGHT * abs(first) for each in rest):
        return 0.0
    if not all(rest[:-1]):
        return None
    factors = [b / a for a, b in pairwise(rest)]
    factor = factors[0]
    alike = all(abs(each - factor) <= ALIKE * abs(factor) for each in factors)
    return factor if alike and 0 <= factor < 1 else None


def stable_curvature(response: Sequence[float], momentum: float) -> float | None:
    """The largest curvature of a parabola on which such steps shrink.

    A step falls by Σ h_k g_{t-k}; the first root to leave the unit circle leaves it at -1, where
    2 = curvature Σ (-1)^k h_k: 2 / rate for plain descent, 2 (1 + momentum) / rate with momentum. That it is
    the first is tried: `None` where steps a little below do not shrink, or a little above do not grow.
    """
    first, second = response[0], response[1] if momentum else 0.0
    turns = first - second / (1 + momentum)
    if not turns > 0:
        return None
    stable = 2 / turns
    below, above = (_grows(first, second, momentum, stable * (1 + side * BESIDE)) for side in (-1, 1))
    return None if below or not above else stable


def _grows(first: float, second: float, momentum: float, curvature: float) -> bool:
    """Whether steps on a parabola end further away than they began."""
    at, going = 1.0, 0.0
    for _ in range(SETTLED):
        gradient = curvature * at
        at -= first * gradient + going
        going = momentum * going + second * gradient
        if not abs(at) < 1e6:
            return True
    return abs(at) > 1
