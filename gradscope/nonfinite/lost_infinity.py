"""Finds an infinity that the program makes and then divides away: x / inf is 0, and so is its derivative.

Loss and gradients stay finite then, so it runs only where a gradient stays exactly zero. The loss runs once,
operation by operation; each infinity that an operation turned into something finite is tried as the cause:
with the largest finite number in its place, is the gradient still zero?
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.core import JaxprEqn

from gradscope.load.usercode.fault import headline
from gradscope.nonfinite.find import input_cells
from gradscope.nonfinite.forward import ForwardOperations
from gradscope.nonfinite.loops import walk_loop
from gradscope.nonfinite.nonfinite_origin import Cell, NonFiniteOrigin, Occurrence, Trace
from gradscope.nonfinite.origin_record import RecordContext, source_at, to_record
from gradscope.nonfinite.values import NonFiniteKind, element, mask
from gradscope.nonfinite.walk import Surroundings, Walk
from gradscope.records import Calculation, LostInfinity, Skipped
from gradscope.trace import jaxprs
from gradscope.trace.forward import Forward
from gradscope.trace.jaxprs import Body
from gradscope.trace.nested.contract import Until
from gradscope.trace.nested.registry import inside
from gradscope.trace.program import Inputs, Program
from gradscope.trace.walk import Path

WHAT = "whether an infinity that is divided away makes a gradient zero"
DIVIDES = frozenset({"div", "rsqrt", "integer_pow", "pow"})
"""Operations that give 0 at an infinite operand and something else at a large one."""
TRIED = 4
"""The most infinities that are tried as the cause, from the first on: each compiles the gradient once."""


@dataclass(frozen=True)
class _Loss:
    """An infinity and the operation after which it is gone."""

    origin: NonFiniteOrigin
    occurrence: Occurrence
    calculation: Calculation
    way: frozenset[int]
    """By `id`, the equations that handed the infinity on, from the one that made it."""


def find_lost_infinity(
    program: Program, inputs: Inputs, batch: Any, dead: Sequence[int]
) -> LostInfinity | Skipped | None:
    """The first infinity without which the gradient of a leaf among `dead` is not zero, if there is one.

    The report is whole without it, so that a mistake of ours ends nothing.
    """
    try:
        return _find(program, inputs, batch, dead)
    except Exception as error:
        return Skipped(
            WHAT, f"running the loss operation by operation failed in gradscope: {headline(error)}"
        )


def _find(program: Program, inputs: Inputs, batch: Any, dead: Sequence[int]) -> LostInfinity | None:
    forward = ForwardOperations(program.body)
    walk = _Watch(forward)
    walk.run(program.body, input_cells(program, inputs, batch), Surroundings())
    for loss in islice(walk.losses.values(), TRIED):
        revived = _revived(program, inputs, loss.way, dead)
        if revived:
            # Nothing is masked by a finite loss here: it is finite because the infinity was divided away.
            context = RecordContext(program, inputs, forward, revived, loss=math.inf)
            return LostInfinity(
                origin=to_record(loss.origin, None, context),
                gone=loss.calculation,
                gone_at=source_at(loss.occurrence, forward),
                largest=float(jnp.finfo(loss.origin.dtype).max),  # type: ignore[no-untyped-call]
            )
    return None


class _Watch(Walk):
    """Notes each infinity of the program's own making that a division turns into a finite number."""

    def __init__(self, forward: ForwardOperations) -> None:
        super().__init__(forward.primitives(), partial(walk_loop, every_step=True))
        self.losses: dict[int, _Loss] = {}
        """By `id` of the equation that made the infinity, in the order of execution."""

    def plain(self, eqn: JaxprEqn, cells: list[Cell], occurrence: Occurrence) -> list[Cell]:
        outs = super().plain(eqn, cells, occurrence)
        if eqn.primitive.name in DIVIDES:
            for cell in cells:
                self._watch(cell, cells, outs[0], occurrence)
        return outs

    def _watch(self, cell: Cell, cells: list[Cell], out: Cell, occurrence: Occurrence) -> None:
        for kind, origin in cell.blame.items():
            if kind is NonFiniteKind.NAN or origin.occurrence is None or origin.preexisting:
                continue
            shape = np.shape(out.value)
            zeroed = np.broadcast_to(mask(cell.value, (kind,)), shape) & (np.asarray(out.value) == 0)
            if not zeroed.any():
                continue
            index = tuple(int(i) for i in np.unravel_index(int(np.argmax(zeroed)), shape))
            operands = tuple(element(each.value, index, shape) for each in cells)
            made = Calculation(occurrence.eqn.primitive.name, operands, 0.0)
            way = frozenset({id(origin.occurrence.eqn), *_way(cell.trace)})
            self.losses.setdefault(id(origin.occurrence.eqn), _Loss(origin, occurrence, made, way))


def _way(end: Trace | None) -> Iterator[int]:
    """The equations with an infinite result from which this value was computed through no finite one."""
    waiting, seen = [end] if end is not None else [], set[int]()
    while waiting:
        trace = waiting.pop()
        if trace.value_range.kinds and trace.number not in seen:
            seen.add(trace.number)
            waiting.extend(trace.operands)
            yield id(trace.occurrence.eqn)


def _revived(program: Program, inputs: Inputs, way: frozenset[int], dead: Sequence[int]) -> tuple[str, ...]:
    """The leaves of `dead` whose gradient is not zero once the equations of the way stay in range."""
    bounded, args = _Bounded(way), list(inputs.others)

    def loss(weights: list[Array]) -> Array:
        outs, _ = bounded.run(program.body, [*weights, *args], ())
        return jnp.asarray(outs[0])

    def alive(gradient: Array) -> Array:
        return jnp.any((gradient != 0) & jnp.isfinite(gradient))

    def found(weights: list[Array]) -> list[Array]:
        return [alive(gradient) for gradient in jax.grad(loss)(weights)]

    lives = jax.device_get(jax.jit(found)(list(inputs.weights)))
    return tuple(program.leaves[leaf].name for leaf in dead if lives[leaf])


class _Bounded(Forward):
    """Runs a program in which some equations give the largest finite number in the place of an infinity."""

    def __init__(self, way: frozenset[int]) -> None:
        """`way`: the equations, by `id`."""
        self._way = way

    def enters(self, eqn: JaxprEqn, path: Path) -> bool:
        """Only what leads to those equations is rebuilt, and nothing that has a derivative of its own."""
        del path
        carried = inside(eqn)
        if carried is None or carried.own_rule or isinstance(carried.loop, Until):
            return False
        return any(self._holds(entry.body) for entry in carried.entries)

    def plain(self, eqn: JaxprEqn, values: list[Any]) -> list[Any]:
        outs = jaxprs.run_equation(eqn, values)
        return [_in_range(out) for out in outs] if id(eqn) in self._way else outs

    def _holds(self, body: Body) -> bool:
        return any(
            id(eqn) in self._way or any(map(self._holds, jaxprs.inner_bodies(eqn))) for eqn in body.eqns
        )


def _in_range(value: Any) -> Any:
    largest = jnp.finfo(value.dtype).max  # type: ignore[no-untyped-call]
    return jnp.where(jnp.isinf(value), jnp.sign(value) * largest, value)
