"""Runs a program block by block, forward and then backward; each distinct block is compiled once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Var

from gradscope.blocks.block import Block, blocks_of
from gradscope.blocks.step import BlockProgram
from gradscope.trace.compiling import Part, compile_parts
from gradscope.trace.interpret import Slot, Slots
from gradscope.trace.program import Program
from gradscope.trace.statistics import FLOW, Selection
from gradscope.trace.vocabulary import NO_GRADIENT, is_real

Keep = Callable[[int, Any], Any]
"""From a leaf and its gradient to what is kept of it."""


def all_of_it(leaf: int, gradient: Any) -> Any:
    del leaf
    return gradient


class Blockwise:
    """The loss of a program, the statistics at its sites, and the gradients of its leaves."""

    def __init__(
        self,
        program: Program,
        blocks: Sequence[Block] | None = None,
        *,
        runs: int = 1,
        work: float = 0.0,
        selection: Selection = FLOW,
        beside: Sequence[Part] = (),
    ) -> None:
        """`blocks` are those of the program, where it has been cut before; `work` is that of all runs;
        `beside` are programs of the caller's, compiled at the same time."""
        body = program.body
        gains = program.gains()
        self._slots: Slots = {
            key: jax.eval_shape(Slot, sink, gains[key]) for key, sink in program.sinks(selection).items()
        }
        self._invars, self._constvars = list(body.jaxpr.invars), list(body.jaxpr.constvars)
        self._weights = self._invars[: len(program.leaves)]
        self._loss = body.jaxpr.outvars[0]
        self.blocks = list(blocks or blocks_of(body, program.plan))
        self._last = {var: number for number, block in enumerate(self.blocks) for var in block.reads}
        self.steps = differentiated(self.blocks, self._weights, self._loss, self._slots, selection)
        self.distinct = {id(step): step for step in self.steps}
        self.trace_s, self.compile_s = compile_parts(
            [*((step.requests(runs, work), step.take) for step in self.distinct.values()), *beside]
        )

    @property
    def executables(self) -> tuple[Any, ...]:
        """Of each distinct block, forward and backward."""
        return tuple(each for step in self.distinct.values() for each in step.executables)

    @property
    def wiring(self) -> Hashable:
        """Which value goes where: with the executables it says all that runs."""
        names: dict[Any, int] = {}
        order = {step: number for number, step in enumerate(self.distinct)}
        return tuple(
            (order[id(step)], *(names.setdefault(var, len(names)) for var in (*block.reads, *block.writes)))
            for block, step in zip(self.blocks, self.steps, strict=True)
        )

    def __call__(
        self,
        weights: Sequence[Any],
        gains: Mapping[int, Any],
        others: Sequence[Any],
        consts: Sequence[Any],
        keep: Keep,
    ) -> tuple[Any, dict[int, Any], dict[int, Any], list[Any]]:
        """The loss, the statistics by site and probe, those of δ by site, and the reduced gradients."""
        statistics: dict[int, Any] = {}
        tape: list[list[Any]] = []
        loss = self._forward(weights, gains, others, consts, (statistics, tape))
        gradients, delta = self._backward(loss, tape, keep)
        return loss, statistics, delta, gradients

    def loss(
        self, weights: Sequence[Any], gains: Mapping[int, Any], others: Sequence[Any], consts: Sequence[Any]
    ) -> Any:
        """The loss alone, by the same programs."""
        return self._forward(weights, gains, others, consts, None)

    def _forward(
        self,
        weights: Sequence[Any],
        gains: Mapping[int, Any],
        others: Sequence[Any],
        consts: Sequence[Any],
        kept: tuple[dict[int, Any], list[list[Any]]] | None,
    ) -> Any:
        """The loss; `kept` gets the statistics, and what each block keeps for its backward."""
        env: dict[Any, Any] = dict(zip(self._invars, [*weights, *others], strict=True))
        env.update(zip(self._constvars, consts, strict=True))
        for number, (block, step) in enumerate(zip(self.blocks, self.steps, strict=True)):
            found = step.forward([env[var] for var in block.reads], [gains[site.id] for site in block.sites])
            env.update(zip(block.writes, found.writes, strict=True))
            if kept is not None:
                kept[0].update(zip(block.names, found.statistics, strict=True))
                kept[1].append(found.residuals)
            for var in block.reads:
                if self._last[var] == number:
                    env.pop(var)
        return env[self._loss]

    def _backward(self, loss: Any, tape: list[list[Any]], keep: Keep) -> tuple[list[Any], dict[int, Any]]:
        first = {var: number for number, block in reversed([*enumerate(self.blocks)]) for var in block.reads}
        leaves = {var: leaf for leaf, var in enumerate(self._weights)}
        cotangents: dict[Any, Any] = {self._loss: jnp.ones_like(loss)}
        delta = {key: jax.tree.map(_nothing, slot.sink) for key, slot in self._slots.items()}
        reduced: dict[int, Any] = {}
        for number in reversed(range(len(self.blocks))):
            block, step = self.blocks[number], self.steps[number]
            residuals = tape.pop()
            if step.has_backward:
                wanted = [var for var, is_wanted in zip(block.writes, step.wanted, strict=True) if is_wanted]
                gradients, found = step.backward(residuals, [cotangents.pop(var) for var in wanted])
                delta.update(zip((site.id for site in block.sites), found, strict=True))
                moving = [var for var, moves in zip(block.reads, step.moves, strict=True) if moves]
                for var, gradient, reach in zip(moving, gradients, step.reached, strict=True):
                    if reach:
                        cotangents[var] = cotangents[var] + gradient if var in cotangents else gradient
            for var in block.reads:
                if var in leaves and first[var] == number and var in cotangents:
                    reduced[leaves[var]] = keep(leaves[var], cotangents.pop(var))
        for leaf, var in enumerate(self._weights):
            if leaf not in reduced:
                reduced[leaf] = keep(leaf, jnp.zeros(var.aval.shape, var.aval.dtype))
        return [reduced[leaf] for leaf in range(len(self._weights))], delta


def differentiated(
    blocks: Sequence[Block], weights: Sequence[Any], loss: Any, slots: Slots, selection: Selection
) -> list[BlockProgram]:
    """A program for each block, one object for equal ones, found from the loss backward: which writes get a
    cotangent decides what a block differentiates. `slots` are the shapes of what each site is given."""
    moving = _moving(weights, blocks)
    reached: set[Any] = {loss}
    known: dict[Any, BlockProgram] = {}
    steps: list[BlockProgram] = []
    for block in reversed(blocks):
        moves = tuple(var in moving for var in block.reads)
        wanted = tuple(var in reached and is_real(var.aval) for var in block.writes)
        key = block.key, moves, wanted
        if key not in known:
            own = [slots[site.id] for site in block.sites]
            known[key] = BlockProgram(block, moves, wanted, own, selection)
        step = known[key]
        steps.append(step)
        gets = [var for var, moves in zip(block.reads, moves, strict=True) if moves]
        reached |= {var for var, reach in zip(gets, step.reached, strict=True) if reach}
    return steps[::-1]


def _nothing(shape: jax.ShapeDtypeStruct) -> Any:
    return np.zeros(shape.shape, shape.dtype)


def _moving(weights: Sequence[Var], blocks: Sequence[Block]) -> set[Any]:
    """Variables through which a gradient may come back to a weight or a sink."""
    moving: set[Any] = set(weights)
    for block in blocks:
        tapped = {block.body.eqns[index].outvars[site.position] for index, site in block.plan.taps.items()}
        nested = {index for index, _ in block.plan.inner}
        for index, eqn in enumerate(block.body.eqns):
            passes = eqn.primitive.name not in NO_GRADIENT
            if index in nested or (
                passes and not moving.isdisjoint(a for a in eqn.invars if isinstance(a, Var))
            ):
                moving.update(var for var in eqn.outvars if is_real(var.aval))
        moving |= {var for var in tapped if is_real(var.aval)}
    return moving
