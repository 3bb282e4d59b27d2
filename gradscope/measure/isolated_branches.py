"""Looks whether a branch that a test for equality takes has the derivative of what surrounds it.

Only where the program tests a value for equality that a gradient comes back to. The loss runs at a few
points beside the parameters: does any element still compare equal there, and does the loss move as its
gradient says?
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import JaxprEqn

from gradscope.measure.flow import FlowPass
from gradscope.records import IsolatedBranch
from gradscope.trace import jaxprs
from gradscope.trace.domains.equality import Equality, equalities
from gradscope.trace.forward import Forward
from gradscope.trace.jaxprs import Body
from gradscope.trace.program import Inputs, Program
from gradscope.trace.sites import members_of
from gradscope.trace.sources import source_of
from gradscope.trace.statistics import Floats
from gradscope.trace.walk import Path

STEP = 1e-2
"""Relative to the scale of each leaf: far above the rounding of float32, and close by."""
SMOOTH = 0.5
"""The slopes on both sides differ by at most this share of what sets them apart from backpropagation. At a
kink they differ by twice of it and more, since the derivative there is one of them or lies between."""
APART = 0.2
"""The derivative is another one: differences and backpropagation differ by this share of the larger."""
DIRECTIONS = 3
"""Most of these have to show it."""
TRIED = 4

Counts = dict[Path, Any]


def isolated_branches(program: Program, flow: FlowPass, inputs: Inputs) -> tuple[IsolatedBranch, ...]:
    """The tests for equality that hold at the parameters alone, and whose branch has a wrong derivative."""
    tests = equalities(program.body, len(program.leaves))[:TRIED]
    if not tests:
        return ()
    run = _compiled(program.body, tests)
    at = _Point(run, inputs)
    held = [test for test in tests if at.counts[test.path] > 0]
    gradients = [np.asarray(gradient, np.float64) for gradient in flow.gradients(inputs)] if held else []
    found = (_judged(program, at, test, gradients) for test in held)
    return tuple(each for each in found if each is not None)


class _Point:
    """The loss, and how many elements compare equal, at and beside the parameters."""

    def __init__(self, run: Any, inputs: Inputs) -> None:
        self._run, self._inputs = run, inputs
        self.weights = [np.asarray(weight, np.float64) for weight in inputs.weights]
        self.loss, self.counts = self.beside({}, 0.0)

    def beside(self, direction: dict[int, Floats], step: float) -> tuple[float, dict[Path, int]]:
        moved = [
            jnp.asarray(self.weights[i] + step * direction[i], weight.dtype) if i in direction else weight
            for i, weight in enumerate(self._inputs.weights)
        ]
        loss, counts = jax.device_get(self._run(moved, self._inputs.others))
        return float(loss), {path: int(count) for path, count in counts.items()}


def _judged(
    program: Program, at: _Point, test: Equality, gradients: Sequence[Floats]
) -> IsolatedBranch | None:
    rng, apart = np.random.default_rng(0), []
    for _ in range(DIRECTIONS):
        direction = {leaf: _direction(rng, at.weights[leaf]) for leaf in members_of(test.leaves)}
        steps = (-STEP, -STEP / 2, STEP / 2, STEP)
        looked = [at.beside(direction, step) for step in steps]
        if any(counts[test.path] for _, counts in looked):
            return None
        backprop = float(sum(np.vdot(gradients[leaf], along) for leaf, along in direction.items()))
        left, right = ((looked[i + 1][0] - looked[i][0]) / (STEP / 2) for i in (0, 2))
        across = (looked[3][0] - looked[0][0]) / (2 * STEP)
        error = abs(across - backprop)
        if abs(left - right) <= SMOOTH * error and error > APART * max(abs(across), abs(backprop)):
            apart.append((backprop, across))
    if 2 * len(apart) <= DIRECTIONS:
        return None
    shape = np.broadcast_shapes(*(atom.aval.shape for atom in test.eqn.invars))  # type: ignore[attr-defined]
    return IsolatedBranch(
        op=test.eqn.primitive.name,
        source=source_of(test.eqn, test.calls),
        parameters=tuple(program.leaves[leaf].name for leaf in members_of(test.leaves)),
        equal=at.counts[test.path],
        size=int(np.prod(shape, dtype=np.int64)),
        backprop=apart[0][0],
        differences=apart[0][1],
        step=STEP,
    )


def _direction(rng: np.random.Generator, weight: Floats) -> Floats:
    scale = float(np.sqrt(np.mean(weight**2))) or 1.0
    return np.asarray(rng.standard_normal(weight.shape) * scale)


def _compiled(body: Body, tests: Sequence[Equality]) -> Any:
    counting = _Counting([test.path for test in tests])

    def run(weights: list[Any], others: list[Any]) -> tuple[Any, Counts]:
        start = {test.path: jnp.zeros((), jnp.int32) for test in tests}
        outs, counts = counting.run(body, [*weights, *others], start)
        return outs[0], counts

    return jax.jit(run)


class _Counting(Forward):
    """Counts the elements that compare equal, over all steps of the loops around a test."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = frozenset(paths)
        self._above = {path[: 2 * depth + 1] for path in paths for depth in range(len(path) // 2)}

    def enters(self, eqn: JaxprEqn, path: Path) -> bool:
        del eqn
        return path in self._above

    def plain(self, eqn: JaxprEqn, values: list[Any]) -> list[Any]:
        return jaxprs.run_equation(eqn, values)

    def seen(self, path: Path, values: list[Any], state: Counts) -> Counts:
        if path not in self._paths:
            return state
        return {**state, path: state[path] + jnp.sum(values[0] == values[1], dtype=jnp.int32)}
