"""The loss at several points of a line, and its derivative along one, by the blocks of a gradient.

What comes before the first block that a moved leaf enters is the same at all points: it ran once, at the
start of the line. From there on every value that any leaf reaches is computed for each point, so that each
distinct block is compiled for one way only in which values come to it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import Var

from gradscope.blocks.block import Block
from gradscope.blocks.running import Blockwise
from gradscope.errors import GradscopeError
from gradscope.trace.compiling import Compiled, compile_program
from gradscope.trace.interpret import Taps, evaluate
from gradscope.trace.program import Program
from gradscope.trace.sites import Plan
from gradscope.trace.vocabulary import is_real

_LINES = 1000
"""How often a block of a line runs, roughly: it is worth compiling well."""

_STARTS_KEPT = 2
"""Starts whose values between blocks are kept: the parameters, and a point near them."""


def shifted(weight: Any, direction: Any, amount: Any) -> Any:
    """Traceable: the weight moved along a direction; the sum is rounded once to the dtype of the weight."""
    wide = step_dtype(weight.dtype)
    return (weight.astype(wide) + amount.astype(wide) * direction).astype(weight.dtype)


def step_dtype(dtype: Any) -> Any:
    """Directions are no coarser than float32: a step in bfloat16 is rounded once, at the sum."""
    return jnp.promote_types(dtype, jnp.float32)


@dataclass(frozen=True)
class _Start:
    weights: list[Any]
    values: dict[Any, Any]
    """Of every variable that a block reads or writes."""

    def is_at(self, weights: list[Any]) -> bool:
        return all(ours is theirs for ours, theirs in zip(self.weights, weights, strict=True))


class Lines:
    """The loss of a program as a function of its leaves."""

    def __init__(self, program: Program, gradient: Blockwise, others: Sequence[Any]) -> None:
        """`others` are the values of what the program takes after its leaves."""
        body, count = program.body, len(program.leaves)
        self._gradient, self._blocks = gradient, gradient.blocks
        self._leaves = {var: leaf for leaf, var in enumerate(body.jaxpr.invars[:count])}
        self._loss = body.jaxpr.outvars[0]
        self._inputs = dict(zip(body.jaxpr.invars[count:], others, strict=True))
        self._inputs.update(zip(body.jaxpr.constvars, body.consts, strict=True))
        self._last = {var: number for number, block in enumerate(self._blocks) for var in block.reads}
        self._reached = _reached(self._leaves, self._blocks)
        self._programs: dict[Hashable, Compiled] = {}
        self._starts: list[_Start] = []

    def along(
        self,
        weights: list[Any],
        directions: Sequence[Any],
        amounts: Array,
        factors: Sequence[Any],
        moved: Collection[int],
    ) -> Array:
        """The loss at `weights + amount * factors * directions` for each amount, f[points].

        `factors` has one number for each leaf, which is zero for all but the `moved` ones.
        """
        start = self._start(weights).values
        values: dict[Any, Any] = {}
        for number, block in enumerate(self._blocks):
            leaves = [self._leaves[var] for var in block.reads if var in self._leaves]
            if not values.keys().isdisjoint(block.reads) or not set(leaves).isdisjoint(moved):
                many = [var in self._reached and var not in self._leaves for var in block.reads]
                given = (
                    amounts,
                    [
                        start[var]
                        if not several
                        else values[var]
                        if var in values
                        else jnp.broadcast_to(start[var], (*amounts.shape, *start[var].shape))
                        for var, several in zip(block.reads, many, strict=True)
                    ],
                    [directions[leaf] for leaf in leaves],
                    [factors[leaf] for leaf in leaves],
                )
                found = self._line(block, many, given).start(*given)
                values.update(zip(filter(self._reached.__contains__, block.writes), found, strict=True))
            self._forget(values, number)
        return values[self._loss] if self._loss in values else jnp.full(amounts.shape, start[self._loss])

    def tangent(self, weights: list[Any], directions: Sequence[Any]) -> Any:
        """The derivative along directions of all leaves, by forward mode."""
        start = self._start(weights).values
        tangents: dict[Any, Any] = {var: directions[leaf] for var, leaf in self._leaves.items()}
        for number, block in enumerate(self._blocks):
            moving = [var in tangents for var in block.reads]
            if any(moving):
                given = (
                    [start[var] for var in block.reads],
                    [tangents[var] for var in compress(block.reads, moving)],
                )
                found = self._tangent(block, moving, given).start(*given)
                tangents.update(zip(filter(self._moves, block.writes), found, strict=True))
            self._forget(tangents, number)
        return tangents.get(self._loss, 0.0)

    def _start(self, weights: list[Any]) -> _Start:
        known = next((start for start in self._starts if start.is_at(weights)), None)
        if known is None:
            values = {**self._inputs, **{var: weights[leaf] for var, leaf in self._leaves.items()}}
            for block, step in zip(self._blocks, self._gradient.steps, strict=True):
                values.update(
                    zip(
                        block.writes,
                        step.forward([values[var] for var in block.reads], []).writes,
                        strict=True,
                    )
                )
            known = _Start(list(weights), values)
            self._starts = [known, *self._starts][:_STARTS_KEPT]
        return known

    def _forget(self, values: dict[Any, Any], number: int) -> None:
        for var in self._blocks[number].reads:
            if self._last[var] == number:
                values.pop(var, None)

    def _moves(self, var: Any) -> bool:
        return var in self._reached and is_real(var.aval)

    def _line(self, block: Block, many: Sequence[bool], given: tuple[Any, ...]) -> Compiled:
        places = [place for place, var in enumerate(block.reads) if var in self._leaves]

        def at(amount: Any, values: list[Any], directions: list[Any], factors: list[Any]) -> list[Any]:
            values = list(values)
            for place, direction, factor in zip(places, directions, factors, strict=True):
                values[place] = shifted(values[place], direction, amount * factor)
            return _outputs(block, values, self._reached.__contains__)

        def batched(*given: Any) -> list[Any]:
            found: list[Any] = jax.vmap(at, (0, [0 if each else None for each in many], None, None))(*given)
            return found

        def one_by_one(amounts: Any, values: list[Any], *rest: list[Any]) -> list[Any]:
            def run(each: tuple[Any, list[Any]]) -> list[Any]:
                parts = iter(each[1])
                own = [next(parts) if several else value for value, several in zip(values, many, strict=True)]
                return at(each[0], own, *rest)

            found: list[Any] = jax.lax.map(run, (amounts, list(compress(values, many))))
            return found

        key = "line", block.key, tuple(places), tuple(many)
        try:
            return self._compiled(key, batched, given, _LINES)
        except GradscopeError:
            # What cannot be batched, or too little memory for all points at once.
            return self._compiled(key, one_by_one, given, _LINES)

    def _tangent(self, block: Block, moving: Sequence[bool], given: tuple[Any, ...]) -> Compiled:
        def along(values: list[Any], tangents: list[Any]) -> list[Any]:
            def run(moved: list[Any]) -> list[Any]:
                parts = iter(moved)
                own = [next(parts) if moves else value for value, moves in zip(values, moving, strict=True)]
                return _outputs(block, own, self._moves)

            found: list[Any] = jax.jvp(run, (list(compress(values, moving)),), (tangents,))[1]
            return found

        return self._compiled(("tangent", block.key, tuple(moving)), along, given, 1)

    def _compiled(
        self, key: Hashable, function: Callable[..., Any], given: tuple[Any, ...], runs: int
    ) -> Compiled:
        if key not in self._programs:
            self._programs[key] = compile_program(function, given, runs=runs)
        return self._programs[key]


def _outputs(block: Block, values: Sequence[Any], chosen: Callable[[Any], bool]) -> list[Any]:
    outs = evaluate(block.body, list(values), Plan(), Taps({}))
    return [out for var, out in zip(block.writes, outs, strict=True) if chosen(var)]


def _reached(leaves: Collection[Any], blocks: Sequence[Block]) -> set[Any]:
    """The leaves, and all variables that depend on one of them."""
    reached = set(leaves)
    for block in blocks:
        for eqn in block.body.eqns:
            if not reached.isdisjoint(atom for atom in eqn.invars if isinstance(atom, Var)):
                reached.update(eqn.outvars)
    return reached
