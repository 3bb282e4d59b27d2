"""The tap: an identity whose gradient with respect to a zero `sink` is the statistics of δ.

`tap(x, sink, gain, how)` returns `x`. Its backward rule hands the cotangent on untouched and returns its
statistics as the "gradient" of the sink, so the statistics leave the program where a gradient would and
no array of the size of an activation does. A tap is used once, so nothing is ever summed into a sink.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from gradscope.trace.jaxprs import MeshAxes, make_varying
from gradscope.trace.statistics import Axes, Statistic, Stats, reduced


class How(NamedTuple):
    """What a tap takes, and how."""

    statistics: tuple[Statistic, ...]
    members: Axes
    """Axes of the value along which the statistics are kept apart."""
    mesh: MeshAxes
    """Axes of the `shard_map`s around it: the statistics differ along them."""
    units: Axes
    """Axes of the value that count the units of its layer."""


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def tap(x: Array, sink: Stats, gain: Array, how: How) -> Array:
    """`x`; the gradient of `sink` is the statistics of ∂L/∂x. `sink` has a zero for each of them."""
    del sink, gain, how
    return x


def _forward(x: Array, sink: Stats, gain: Array, how: How) -> tuple[Array, Array]:
    del sink, how
    return x, gain


def _backward(how: How, gain: Array, cotangent: Array) -> tuple[Array, Stats, Array]:
    found = reduced(cotangent, gain, *how)
    sink = {name: make_varying(value, how.mesh) for name, value in found.items()}
    return cotangent, sink, jnp.zeros_like(gain)


tap.defvjp(_forward, _backward)


def forward_stats(x: Array, gain: Array, how: How) -> Stats:
    """Statistics of the value itself, kept out of every gradient."""
    return reduced(lax.stop_gradient(x), gain, *how)
