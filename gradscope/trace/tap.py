"""The tap: an identity whose gradient with respect to a zero `sink` is the statistics of δ.

`tap(x, sink, gain)` returns `x`. Its backward rule hands the cotangent on untouched and returns its
statistics as the "gradient" of the sink, so the statistics leave the program where a gradient would and
no array of the size of an activation does. A tap is used once, so nothing is ever summed into a sink.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from gradscope.trace.jax_compat import MeshAxes, make_varying, replicas

WIDTH = 3
"""Statistics of one value: sum of squares of gain · value, largest absolute value, number of elements."""


def stats_dtype(dtype: Any) -> Any:
    """float64 for float64 (and complex128) values, else float32, whatever the model computes in."""
    return np.float64 if np.dtype(dtype) in (np.float64, np.complex128) else np.float32


def stats(value: Array, gain: Array, axes: MeshAxes = ()) -> Array:
    """f[3]: the sum of squares of `gain * value`, the largest |value|, the number of elements.

    `gain` is a power of two that keeps squares of very small or very large values in range. A value that
    devices along `axes` hold in common counts once in all.
    """
    wide = stats_dtype(value.dtype)
    if value.size == 0:
        return jnp.zeros(WIDTH, wide)
    if jnp.iscomplexobj(value):
        value = jnp.abs(value)
    value = value.astype(wide)
    scaled = value * gain.astype(wide)
    copies = replicas(value, axes)
    squares = jnp.sum(scaled * scaled) / copies if copies > 1 else jnp.sum(scaled * scaled)
    return jnp.stack([squares, jnp.max(jnp.abs(value)), jnp.asarray(value.size / copies, wide)])


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def tap(x: Array, sink: Array, gain: Array, axes: MeshAxes) -> Array:
    """`x`. `axes` are the mesh axes of the `shard_map`s around: the statistics differ along them."""
    del sink, gain, axes
    return x


def _forward(x: Array, sink: Array, gain: Array, axes: MeshAxes) -> tuple[Array, Array]:
    del sink, axes
    return x, gain


def _backward(axes: MeshAxes, gain: Array, cotangent: Array) -> tuple[Array, Array, Array]:
    return cotangent, make_varying(stats(cotangent, gain, axes), axes), jnp.zeros_like(gain)


tap.defvjp(_forward, _backward)


def forward_stats(x: Array, gain: Array, axes: MeshAxes) -> Array:
    """Statistics of the value itself, kept out of every gradient."""
    return lax.stop_gradient(stats(lax.stop_gradient(x), gain, axes))
