"""The pass that follows the gradient through time: a program that is compiled once and run a few times.

The first run gives norms and the sum over all steps; a second one, along that sum, the share of each step; a
third one has the gradient cut every so many steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gradscope.measure.flow import Sample
from gradscope.measure.recurrences import name_of, norms_by_step
from gradscope.trace.compiling import Compiled, compile_program
from gradscope.trace.credit import Credit, Directions, Flags, Sinks, rows_of, sinks_of
from gradscope.trace.jaxprs import Body
from gradscope.trace.program import Inputs, Program
from gradscope.trace.time_steps import Timeline


@dataclass(frozen=True)
class Followed:
    """A loop through which a gradient goes, and the step from which each of its memories is followed."""

    timeline: Timeline
    name: str
    starts: tuple[int | None, ...]
    """By memory; `None` where no gradient comes to it."""


def followed(sample: Sample, timeline: Timeline) -> Followed | None:
    """`None` for a loop through which no gradient goes."""
    chains = [norms_by_step(chain, [sample.delta]) for chain in timeline.chains]
    if not any((each != 0).any() for each in chains):
        return None
    starts = []
    for memory in timeline.memories:
        (reached,) = np.nonzero(np.any([chains[state] != 0 for state in memory], axis=0))
        starts.append(int(reached[-1]) if reached.size else None)
    return Followed(timeline, name_of(timeline.loop), tuple(starts))


class CreditPass:
    """The tapped program, compiled once."""

    def __init__(self, program: Program, inputs: Inputs, loops: Sequence[Followed]) -> None:
        self.loops = loops
        self._inputs, self._consts = inputs, list(program.body.consts)
        self._pieces = [(each, piece) for each in loops for piece in each.timeline.pieces]
        self._sinks = {piece.number: sinks_of(each.timeline, piece) for each, piece in self._pieces}
        hand = Credit([each.timeline for each in loops])

        def loss(
            weights: list[Array],
            sinks: dict[int, Sinks],
            flags: dict[int, Flags],
            directions: dict[int, Directions],
            others: list[Array],
            consts: list[Array],
        ) -> Array:
            rows = {i: rows_of(flags[i], each, directions[i]) for i, each in sinks.items()}
            body = Body(program.body.jaxpr, consts)
            outs, _, _ = hand.run(body, [*weights, *others], program.plan, hand.start(), rows)
            return jnp.asarray(outs[0])

        gradient = jax.grad(loss, argnums=(0, 1))
        self.compiled: Compiled = compile_program(gradient, self._arguments(None, None), runs=3)

    def __call__(
        self, directions: dict[int, Directions] | None = None, truncate: int | None = None
    ) -> tuple[dict[int, Sinks], list[Array]]:
        """By piece what came back, as NumPy arrays, and the gradient of each leaf, still on the device."""
        weights, sinks = self.compiled(*self._arguments(directions, truncate))
        return jax.device_get(sinks), weights

    def _arguments(self, directions: dict[int, Directions] | None, truncate: int | None) -> tuple[Any, ...]:
        none = {number: sinks.total for number, sinks in self._sinks.items()}
        inputs = self._inputs
        flags = self._flags(truncate)
        return inputs.weights, self._sinks, flags, directions or none, inputs.others, self._consts

    def _flags(self, truncate: int | None) -> dict[int, Flags]:
        found = {}
        for each in self.loops:
            steps = np.arange(len(each.timeline.steps))
            cuts = (steps > 0) & (steps % truncate == 0) if truncate else np.zeros(len(steps), bool)
            begin = [np.isin(steps, start) if start is not None else steps < 0 for start in each.starts]
            spread = [each.timeline.spread(one) for one in begin]
            for number, (piece, cut) in enumerate(
                zip(each.timeline.pieces, each.timeline.spread(cuts), strict=True)
            ):
                found[piece.number] = Flags(cut, [one[number] for one in spread])
        return found
