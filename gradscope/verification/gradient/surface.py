"""The loss as a function of its parameters alone: along lines, and its gradient.

Whatever the number of leaves and directions, the loss at a few points of a line is compiled once (all of them
at once where that can be batched and fits in memory), and its gradient: as two programs, or block by block
where that costs less. A direction is a list of arrays like the weights; leaves that do not move lend their
own buffers and a factor of zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.blocks.block import blocks_where_it_pays
from gradscope.blocks.line import Lines, shifted, step_dtype
from gradscope.blocks.running import Blockwise, all_of_it
from gradscope.errors import GradscopeError
from gradscope.trace.compiling import Compiled, compile_program
from gradscope.trace.interpret import Taps, evaluate
from gradscope.trace.jaxprs import Body
from gradscope.trace.program import Inputs, Program
from gradscope.trace.sites import Plan
from gradscope.verification.gradient.finite_difference import Floats
from gradscope.verification.precision import spacing

POINTS = 6
"""Of a line, in one run: three steps ahead and three behind."""

Weights = list[Any]
Directions = Mapping[int, Floats]
"""By leaf; the others stay."""


class Surface:
    """Everything but the weights is held as it is: the batch, the key, the other leaves."""

    def __init__(self, program: Program, inputs: Inputs) -> None:
        self.program = program
        self.weights: Weights = [jax.device_put(weight) for weight in inputs.weights]
        self._resting = [weight.astype(step_dtype(weight.dtype)) for weight in self.weights]
        self._others = [jax.device_put(other) for other in inputs.others]
        self._consts = list(program.body.consts)
        self._lines: Lines | None = None
        self._line: Compiled | None = None
        self._gradient: Compiled | Blockwise
        blocks = blocks_where_it_pays(program.body, Plan(), (self.weights, self._others, self._consts))
        if blocks:
            self._gradient = Blockwise(replace(program, plan=Plan(), sites=()), blocks)
            self._lines = Lines(program, self._gradient, self._others)
        else:
            self._line = self._compiled_line()
            self._gradient = self._compiled_gradient(program.body)

    @property
    def loss_spacing(self) -> float:
        """Relative distance of neighbouring values of the loss, in the dtype that it is returned in."""
        return spacing(self.program.body.jaxpr.outvars[0].aval.dtype)

    @property
    def trace_s(self) -> float:
        return self._gradient.trace_s + (0.0 if self._line is None else self._line.trace_s)

    @property
    def compile_s(self) -> float:
        return self._gradient.compile_s + (0.0 if self._line is None else self._line.compile_s)

    def along(self, weights: Weights, directions: Directions, amounts: Sequence[float]) -> Floats:
        """The loss at `weights` plus each of the `POINTS` amounts times the directions.

        Without directions the whole program runs at the weights, `POINTS` times.
        """
        factors = [1.0 if leaf in directions else 0.0 for leaf in range(len(weights))]
        given = list(self._resting)
        for leaf, values in directions.items():
            given[leaf] = self._placed(leaf, values, given[leaf].dtype)
        steps = jnp.asarray(amounts, float)
        switches = np.asarray(factors, steps.dtype)
        if self._lines is not None:
            found = self._lines.along(
                weights, given, steps, list(switches), directions or range(len(weights))
            )
        else:
            assert self._line is not None
            found = self._line(weights, given, steps, switches, self._others, self._consts)
        return np.asarray(jax.device_get(found), np.float64)

    def gradient(self, weights: Weights) -> tuple[float, list[Any]]:
        """The loss and its gradient, which stays on the device."""
        if isinstance(self._gradient, Blockwise):
            loss, _, _, found = self._gradient(weights, {}, self._others, self._consts, all_of_it)
        else:
            loss, found = self._gradient(weights, self._others, self._consts)
        return float(loss), list(found)

    def gradient_of(self, changed: Body, weights: Weights) -> list[Any]:
        """The gradient of a program that gives the same loss another way; compiled for this one use."""
        return list(self._compiled_gradient(changed)(weights, self._others, self._consts)[1])

    def forward(self, weights: Weights, directions: Directions) -> float:
        """The derivative along directions for all leaves, by forward mode; compiled for this one use."""

        def tangent(weights: Weights, along: Weights, others: list[Any], consts: list[Any]) -> Any:
            return jax.jvp(lambda at: self.program.loss(at, others, consts), (weights,), (along,))[1]

        placed = [self._placed(leaf, directions[leaf], w.dtype) for leaf, w in enumerate(weights)]
        if self._lines is not None:
            return float(self._lines.tangent(weights, placed))
        args = (weights, placed, self._others, self._consts)
        return float(compile_program(tangent, args, runs=1)(*args))

    def moved(self, weights: Weights, directions: Directions) -> Weights:
        """The weights plus the directions."""
        return [
            self._placed(leaf, np.asarray(weight, np.float64) + directions[leaf], weight.dtype)
            if leaf in directions
            else weight
            for leaf, weight in enumerate(weights)
        ]

    def _placed(self, leaf: int, values: Floats, dtype: Any) -> Any:
        """`values` as an array that lies where the leaf lies.

        One that lies on the default device without being bound to it may still go to all devices of a mesh.
        """
        weight = self.weights[leaf]
        placed = np.asarray(values).astype(dtype).reshape(weight.shape)
        return jax.device_put(placed, weight.sharding if weight.committed else None)

    def _compiled_line(self) -> Compiled:
        zeros = jnp.zeros(POINTS), jnp.zeros(len(self.weights))
        args = (self.weights, self._resting, *zeros, self._others, self._consts)

        def line(batched: bool) -> Callable[..., Any]:
            def losses(weights: Weights, given: Weights, amounts: Any, moved: Any, *rest: Any) -> Any:
                def one(amount: Any) -> Any:
                    return self.program.loss(_shifted(weights, given, amount * moved), *rest)

                return jax.vmap(one)(amounts) if batched else jax.lax.map(one, amounts)

            return losses

        try:
            return compile_program(line(batched=True), args, runs=_MANY)
        except GradscopeError:
            # A callback that cannot be batched, or too little memory for all points at once.
            return compile_program(line(batched=False), args, runs=_MANY)

    def _compiled_gradient(self, body: Body) -> Compiled:
        def loss(weights: Weights, others: list[Any], consts: list[Any]) -> Any:
            found = evaluate(Body(body.jaxpr, consts), [*weights, *others], Plan(), Taps({}))
            return jnp.asarray(found[0])

        args = (self.weights, self._others, self._consts)
        return compile_program(jax.value_and_grad(loss), args, runs=1)


_MANY = 1000


def _shifted(weights: Weights, directions: Weights, amounts: Any) -> Weights:
    pairs = zip(weights, directions, strict=True)
    return [shifted(weight, direction, amounts[i]) for i, (weight, direction) in enumerate(pairs)]
