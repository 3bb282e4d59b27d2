"""How far the outputs of all layers move between two sets of weights, from one program that runs both.

What a layer puts out is taken with the constant number that the program multiplies it by, since that belongs
to how it is parametrized: 1 over the width, before the loss.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from gradscope.measure.measurement import rows_of
from gradscope.trace.compiling import compile_program
from gradscope.trace.layers import Row
from gradscope.trace.output_factors import output_factors
from gradscope.trace.program import Inputs, Program
from gradscope.trace.statistics import COUNT, Axes, Floats, Operand, Selection, Statistic, norm


class Elements(Statistic):
    """Every element (of a complex value its real part): for programs that reduce them later."""

    name = "elements"

    def own_axes(self, rank: int, units: Axes) -> Axes:
        del units
        return tuple(range(rank))

    def of(self, x: Operand, over: Axes) -> Array:
        return lax.convert_element_type(lax.real(x.value) if _complex(x) else x.value, x.dtype)


ELEMENTS = Elements()
CHOSEN = Selection(value=(COUNT, ELEMENTS), delta=())


@dataclass(frozen=True)
class Moved:
    """Of one layer, over all its uses and all steps of the loops around them."""

    before: float
    """rms of its output at the first weights."""
    change: float
    """rms of the difference, element by element."""
    rounding: float
    """rms of what its dtype rounds off it at most."""
    elements: int


class MovedOutputs:
    """Call it with two sets of weights; one program is compiled, at the first call. No output leaves it."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._run: Callable[..., Any] | None = None

    def __call__(self, inputs: Inputs, later: list[Any]) -> dict[str, Moved]:
        """By layer, in forward order; on one batch, with the same random numbers."""
        program, consts = self._program, list(self._program.body.consts)
        given = inputs.weights, later, inputs.others, consts
        if self._run is None:
            self._run = compile_program(self._measured, given, runs=1)
        found = jax.device_get(self._run(*given))
        factors = output_factors(program)
        return {row.name: moved for _, row, _ in rows_of(program) if (moved := _of_row(row, found, factors))}

    def _measured(
        self, weights: list[Any], later: list[Any], others: list[Any], consts: list[Any]
    ) -> dict[int, tuple[Array, Array, Array]]:
        """By site: the number of elements, and the norms of the output and of its difference, each with the
        axes that the statistics of the site have."""
        program = self._program
        sinks, gains = program.sinks(CHOSEN), program.gains()
        one, other = (
            program.tapped(each, sinks, gains, others, consts, CHOSEN)[1] for each in (weights, later)
        )
        found = {}
        for site in program.sites:
            first: Any = one[site.id]
            second: Any = other[site.id]
            before, after = first[ELEMENTS.name], second[ELEMENTS.name]
            kept = len(site.shape)
            found[site.id] = first[COUNT.name], _norm(before, kept), _norm(after - before, kept)
        return found


def _complex(x: Operand) -> bool:
    return bool(jnp.issubdtype(x.value.dtype, jnp.complexfloating))


def _norm(value: Array, kept: int) -> Array:
    """Over all axes from `kept` on, scaled by the largest element so that no square leaves its range."""
    over = tuple(range(kept, value.ndim))
    top = jnp.max(jnp.abs(value), axis=over, keepdims=True, initial=0.0)
    scale = jnp.where((top > 0) & jnp.isfinite(top), top, 1.0)
    return jnp.sqrt(jnp.sum((value / scale) ** 2, axis=over)) * jnp.reshape(scale, value.shape[:kept])


def _of_row(row: Row, found: dict[int, Any], factors: dict[int, float]) -> Moved | None:
    parts = []
    for site, mask in row.uses:
        counts, before, change = (np.asarray(each, np.float64)[mask] for each in found[site.id])
        parts.append((counts, before * factors[site.id], change * factors[site.id]))
    count = sum(float(counts.sum()) for counts, _, _ in parts)
    if not count:
        return None
    before, change = (_together([part[place] for part in parts]) / count**0.5 for place in (1, 2))
    epsilon = max(
        float(jnp.finfo(site.dtype).eps)  # type: ignore[no-untyped-call]
        for site, _ in row.uses
    )
    return Moved(before, change, epsilon * before, int(count))


def _together(norms: list[Floats]) -> float:
    return float(norm(np.concatenate([np.ravel(each) for each in norms])))
