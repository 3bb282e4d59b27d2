"""The probe: how near a value comes to a dangerous point, or another look at it, kept out of every
gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from gradscope.trace.attention_rows import AttentionRows, attention_rows, no_rows
from gradscope.trace.choices import Choice, Load, load, no_load
from gradscope.trace.sites import Measure, Probe
from gradscope.trace.statistics import stats_dtype

float_info: Any = jnp.finfo
"""Limits of a float dtype, bfloat16 among them."""


OUTLIER = 1e3
"""Times the geometric mean of the others: beyond, an element says nothing of the rounding of the rest."""


class Distance(NamedTuple):
    """How near the finite elements of an operand come to a dangerous point.

    Elements that lie on the point itself are counted apart: where the run is finite they are masked, and say
    nothing about the others.
    """

    nearest: Any
    """Smallest distance above 0; infinite where no element has one."""
    largest: Any
    """Largest |x| that is no outlier."""
    on_it: Any
    """Elements on the point or beyond it."""


Measured = Distance | AttentionRows | Load


def measured(probe: Probe, values: Sequence[Array]) -> Measured:
    """Traceable: of the operands of one run of the equation."""
    if probe.look is None:
        return distance(probe, values)
    if isinstance(probe.look, Choice):
        return load(probe.look, values[0])
    return attention_rows(probe.look, values)


def nothing(probe: Probe, level: int) -> Measured:
    """Of a probe that was not reached, below its first `level` loops."""
    if probe.look is None:
        return no_distance(probe, level)
    lead = [axis.length for axis in probe.lead[level:]]
    return no_load(probe.look, lead) if isinstance(probe.look, Choice) else no_rows(probe.look, lead)


def no_distance(probe: Probe, level: int) -> Distance:
    """Of a probe that was not reached, below its first `level` loops."""
    zero = jnp.zeros([axis.length for axis in probe.lead[level:]], _dtype(probe))
    return Distance(zero + jnp.inf, zero, zero)


def _dtype(probe: Probe) -> Any:
    return stats_dtype(probe.operands[0].aval.dtype)


def distance(probe: Probe, values: Sequence[Array]) -> Distance:
    """Traceable: of the operands of one run of the equation."""
    dtype = _dtype(probe)
    wide = [lax.convert_element_type(_real(probe, lax.stop_gradient(value)), dtype) for value in values]
    wide = list(jnp.broadcast_arrays(*wide)) if len(wide) > 1 else wide
    size = lax.abs(wide[0])
    for other in wide[1:]:
        size = lax.max(size, lax.abs(other))
    if size.size == 0:
        return no_distance(probe, len(probe.lead))
    left = _left(probe, wide[0], size)
    none = lax.full_like(left, np.inf)
    finite = lax.is_finite(left)
    apart = lax.bitwise_and(finite, lax.gt(left, lax.full_like(left, 0)))
    axes = tuple(range(left.ndim))
    nearest = lax.reduce_min(lax.select(apart, left, none), axes)
    largest = lax.reduce_max(lax.select(lax.is_finite(size), size, lax.full_like(size, 0)), axes)
    usual = OUTLIER * _typical(size, lax.gt(left, lax.broadcast(nearest, left.shape)), axes)
    on_it = lax.bitwise_and(finite, lax.le(left, lax.full_like(left, 0)))
    count = lax.reduce_sum(lax.convert_element_type(on_it, dtype), axes)
    return Distance(nearest, lax.min(largest, usual), count)


def _typical(size: Array, others: Array, axes: tuple[int, ...]) -> Array:
    """Geometric mean over `others`."""
    counted = lax.bitwise_and(
        others, lax.bitwise_and(lax.is_finite(size), lax.gt(size, lax.full_like(size, 0)))
    )
    logs = lax.log(lax.select(counted, size, lax.full_like(size, 1)))
    count = lax.reduce_sum(lax.convert_element_type(counted, size.dtype), axes)
    mean = lax.reduce_sum(logs, axes) / lax.max(count, lax.full_like(count, 1))
    return lax.select(lax.gt(count, lax.full_like(count, 0)), lax.exp(mean), lax.full_like(mean, 0))


def _real(probe: Probe, value: Array) -> Array:
    """Of a complex exponent only the real part grows; elsewhere the modulus is what comes near zero."""
    if not jnp.issubdtype(value.dtype, jnp.complexfloating):
        return value
    return lax.real(value) if probe.measure is Measure.OVERFLOW else lax.abs(value)


def _left(probe: Probe, value: Array, size: Array) -> Array:
    if probe.measure is Measure.ONE:
        return 1 - size
    if probe.measure is Measure.MINUS_ONE:
        return 1 + value
    if probe.measure is Measure.OVERFLOW:
        return probe.limit - value
    return size
