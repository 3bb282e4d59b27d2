"""Results of a `shard_map` that are declared the same on all devices: are they?

With `check_vma=False` JAX takes what the first device has and does not look at the others. Here the body runs
once more with one row for each device, and the loss once with the value of each in the place of the first's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
from jax.extend.core import JaxprEqn

from gradscope.records import UnreducedShard
from gradscope.trace import jaxprs
from gradscope.trace.compiling import compile_program
from gradscope.trace.jaxprs import Body
from gradscope.trace.nested.registry import inside, is_called
from gradscope.trace.program import Inputs, Program
from gradscope.trace.sources import source_of
from gradscope.trace.spliced import Spliced
from gradscope.trace.walk import Path

ROUNDING = 1e-3
"""Of the largest element: sums in another order differ by less."""
MOST_DEVICES = 16
"""Whose values are tried in the loss."""


def unreduced_shards(program: Program, inputs: Inputs) -> Iterator[UnreducedShard]:
    """Of those `shard_map`s that no loop, branch or other `shard_map` is around."""
    given = [*inputs.weights, *inputs.others, *program.body.consts]
    arguments = len(given) - len(program.body.consts)
    for path, eqn, around in _unchecked(program.body):
        operands = [(path, place) for place in range(len(eqn.invars))]
        reading = Spliced(operands)

        def read(*values: jnp.ndarray, reading: Spliced = reading, eqn: JaxprEqn = eqn) -> object:
            body = Body(program.body.jaxpr, values[arguments:])
            _, found = reading.outcome(body, values[:arguments], {})
            return jaxprs.by_device(eqn, found)

        stacked = compile_program(read, tuple(given), runs=1)(*given)
        for number, values in stacked.items():
            rows = np.asarray(values, np.float64)
            if not np.isfinite(rows).all() or not jnp.issubdtype(values.dtype, jnp.inexact):
                continue
            apart = np.abs(rows - rows[:1]).reshape(len(rows), -1).max(axis=1, initial=0.0)
            largest = float(np.abs(rows).max(initial=0.0))
            if not largest or apart.max() <= ROUNDING * largest:
                continue
            spot = path, -1 - number
            losses = _losses(program, given, arguments, spot, values[:MOST_DEVICES])
            if not all(map(math.isfinite, losses)) or max(losses) == min(losses):
                continue
            yield UnreducedShard(
                source=source_of(eqn, around),
                axes=tuple(axis for axis, _ in jaxprs.unchecked_outputs(eqn)[number]),
                devices=len(rows),
                differing=int((apart > ROUNDING * largest).sum()),
                apart=float(apart.max()) / largest,
                loss=losses[0],
                lowest=min(losses),
                highest=max(losses),
            )


def _losses(
    program: Program, given: list[object], arguments: int, spot: tuple[Path, int], values: jnp.ndarray
) -> list[float]:
    putting = Spliced([], [spot])

    def put(value: jnp.ndarray, *given: jnp.ndarray) -> jnp.ndarray:
        body = Body(program.body.jaxpr, given[arguments:])
        return jnp.asarray(putting.outcome(body, given[:arguments], {spot: value})[0])

    run = compile_program(put, (values[0], *given), runs=1)
    return [float(run(value, *given)) for value in values]


def _unchecked(
    body: Body, path: Path = (), around: tuple[JaxprEqn, ...] = ()
) -> Iterator[tuple[Path, JaxprEqn, tuple[JaxprEqn, ...]]]:
    for index, eqn in enumerate(body.jaxpr.eqns):
        at = (*path, index)
        if eqn.primitive.name == "shard_map":
            if jaxprs.unchecked_outputs(eqn):
                yield at, eqn, around
        elif is_called(eqn):
            carried = inside(eqn)
            for entry in carried.entries if carried is not None else ():
                yield from _unchecked(entry.body, (*at, entry.number), (eqn, *around))
