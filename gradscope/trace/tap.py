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

from gradscope.trace.jaxprs import MeshAxes, make_varying, replicas


def stats_dtype(dtype: Any) -> Any:
    """float64 for float64 (and complex128) values, else float32, whatever the model computes in."""
    return np.float64 if np.dtype(dtype) in (np.float64, np.complex128) else np.float32


def stats(value: Array, gain: Array, axes: MeshAxes = (), keep: tuple[int, ...] = ()) -> tuple[Array, Array]:
    """The sum of squares of `gain * value`, and the largest |value|, over all axes but those to `keep`.

    `gain` is a power of two that keeps squares of very small or very large values in range. A value that
    devices along `axes` hold in common counts once in all.
    """
    wide = stats_dtype(value.dtype)
    over = tuple(axis for axis in range(value.ndim) if axis not in keep)
    if value.size == 0:
        zeros = jnp.zeros([value.shape[axis] for axis in keep], wide)
        return zeros, zeros
    copies = replicas(value, axes)
    # `lax` and not `jnp`: a `jnp` function is a jit of its own, and a deep network has thousands of these.
    size = lax.convert_element_type(lax.abs(value), wide)
    gain = lax.convert_element_type(gain, wide)
    scaled = size * lax.broadcast_in_dim(gain, size.shape, keep)
    squares = lax.reduce_sum(scaled * scaled, over)
    return squares / copies if copies > 1 else squares, lax.reduce_max(size, over)


Sink = tuple[Array, Array]
"""Two zeros whose gradients are the sum of squares and the largest |δ|."""


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def tap(x: Array, sink: Sink, gain: Array, axes: MeshAxes, keep: tuple[int, ...]) -> Array:
    """`x`. `axes` are the mesh axes of the `shard_map`s around: the statistics differ along them."""
    del sink, gain, axes, keep
    return x


def _forward(x: Array, sink: Sink, gain: Array, axes: MeshAxes, keep: tuple[int, ...]) -> tuple[Array, Array]:
    del sink, axes, keep
    return x, gain


def _backward(
    axes: MeshAxes, keep: tuple[int, ...], gain: Array, cotangent: Array
) -> tuple[Array, Sink, Array]:
    squares, top = stats(cotangent, gain, axes, keep)
    return cotangent, (make_varying(squares, axes), make_varying(top, axes)), jnp.zeros_like(gain)


tap.defvjp(_forward, _backward)


def forward_stats(x: Array, gain: Array, axes: MeshAxes, keep: tuple[int, ...]) -> tuple[Array, Array, Array]:
    """Statistics of the value itself and its number of elements, kept out of every gradient."""
    squares, top = stats(lax.stop_gradient(x), gain, axes, keep)
    elements = x.size / max(squares.size, 1) / replicas(x, axes)
    count = lax.full(squares.shape, elements, squares.dtype)
    return lax.stop_gradient(squares), lax.stop_gradient(top), count
