"""A loss that is called inside a user's own jit, scan or `shard_map` becomes a program there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import Array

from gradscope.trace import jaxprs
from gradscope.trace.interpret import Found, Slot, Taps, evaluate
from gradscope.trace.jaxprs import Body
from gradscope.trace.leaves import Leaf
from gradscope.trace.program import Names, Program, program_of
from gradscope.trace.statistics import Selection, Stats


def traced(
    function: Callable[..., Any],
    weights: Sequence[Any],
    others: Sequence[Any],
    leaves: tuple[Leaf, ...],
    of_batch: Sequence[bool],
    names: Names,
) -> Program:
    """The program of `function(*weights, *others)`, whose first output is the loss. Values of the trace
    around it that it closes over are data."""
    body = jaxprs.body_of(jax.make_jaxpr(function)(*weights, *others))
    around = any(isinstance(const, jax.core.Tracer) for const in body.consts)
    return program_of(body, leaves, of_batch, names, closes_over_data=around)


def differentiated(
    program: Program, weights: list[Array], others: list[Array], selection: Selection
) -> tuple[Array, list[Array], list[Array], dict[int, Found], dict[int, Stats]]:
    """Traceable: loss, further outputs and gradients, and the statistics of values and of δ by site."""
    consts = list(program.body.consts)
    values = [*weights, *others, *consts]
    axes = sorted({axis for value in values for axis in jaxprs.varying_axes(value)})
    mesh = tuple((axis, int(jax.lax.axis_size(axis))) for axis in axes)

    def tapped(weights: list[Array], sinks: Any) -> Any:
        taps = Taps(
            {site: Slot(sinks[site], gain) for site, gain in program.gains().items()}, selection, mesh
        )
        outs = evaluate(Body(program.body.jaxpr, consts), [*weights, *others], program.plan, taps)
        return outs[0], (outs[1:], taps.forward)

    sinks = jax.tree.map(lambda sink: jaxprs.make_varying(sink, mesh), program.sinks(selection))
    both = jax.value_and_grad(tapped, argnums=(0, 1), has_aux=True)
    (loss, (beside, forward)), (gradients, delta) = both(weights, sinks)
    return loss, beside, gradients, forward, delta
