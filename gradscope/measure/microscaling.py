"""Products of matrices in MXFP8: blocks of 32 elements with a scale each, which is a power of two.

Source: Open Compute Project 2023, *Microscaling Formats (MX) Specification v1.0*, sections 5.2 and 6.3: the
scale of a block is E8M0, 2 to the exponent of its largest |element| less that of the largest number of the
element format; what lies beyond that number then is clamped to it. Elements are rounded to nearest, ties to
even. A block lies along what a product adds up, so that each of the three products of a layer (its own, and
those for the gradients of both operands) has its operands rounded anew: that is what hardware multiplies.
Gradients are e4m3, too (Mishra et al. 2025, *Recipes for Pre-training LLMs with MXFP8*, arXiv:2506.08027).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs

BLOCK = 32
ELEMENT = jnp.float8_e4m3fn
SCALES = 127
"""The largest exponent of a scale; the smallest is its opposite."""


def multiplied(eqn: JaxprEqn, left: Array, right: Array, *, up: bool = False, keep: Any = False) -> Array:
    """The product of matrices, or the convolution, of `eqn`; its operands, and those of its derivatives, are
    rounded, `up` with the scales of blocks rounded up, unless `keep` (bool[], traceable). It adds up in the
    dtype of the program."""
    axes = jaxprs.summed_axes(eqn)

    def plain(left: Array, right: Array) -> Array:
        return jaxprs.run_equation(eqn, [left, right])[0]  # type: ignore[no-any-return]

    def in_blocks(value: Array, axes: Sequence[int], keep: Any) -> Array:
        return jnp.where(keep, value, rounded_in_blocks(value, axes, up=up))

    @jax.custom_vjp
    def product(left: Array, right: Array, keep: Any) -> Array:
        first, second = axes.forward
        return plain(in_blocks(left, first, keep), in_blocks(right, second, keep))

    def forward(left: Array, right: Array, keep: Any) -> tuple[Array, Any]:
        return product(left, right, keep), (left, right, keep)

    def backward(saved: Any, cotangent: Array) -> tuple[Array, Array, None]:
        left, right, keep = saved
        by_right = in_blocks(right, axes.to_left[1], keep)
        by_left = in_blocks(left, axes.to_right[1], keep)
        (to_left,) = jax.vjp(lambda left: plain(left, by_right), left)[1](
            in_blocks(cotangent, axes.to_left[0], keep)
        )
        (to_right,) = jax.vjp(lambda right: plain(by_left, right), right)[1](
            in_blocks(cotangent, axes.to_right[0], keep)
        )
        return to_left, to_right, None

    product.defvjp(forward, backward)
    return product(left, right, jnp.asarray(keep))


def rounded_in_blocks(value: Array, axes: Sequence[int], *, up: bool = False) -> Array:
    """`value` rounded, its blocks along `axes` as one, the last of them the fastest; no axis is one of length
    1. The last block may be shorter. One that is not finite becomes NaN, as its scale does.

    With its scale rounded `up` nothing is clamped (Mishra et al. 2025); the specification rounds it down.
    """
    dtype = value.dtype
    wide = value.astype(jnp.promote_types(dtype, jnp.float32))
    places = range(value.ndim - len(axes), value.ndim)
    moved = jnp.moveaxis(wide, axes, places)
    length = math.prod(value.shape[axis] for axis in axes)
    rows = moved.reshape(*moved.shape[: value.ndim - len(axes)], length)
    padded = jnp.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, -length % BLOCK)])
    blocks = padded.reshape(*rows.shape[:-1], -1, BLOCK)
    rounded = _rounded(blocks, up).reshape(padded.shape)[..., :length]
    return jnp.moveaxis(rounded.reshape(moved.shape), places, axes).astype(dtype)


def _rounded(blocks: Array, up: bool) -> Array:
    most = float(jnp.finfo(ELEMENT).max)  # type: ignore[no-untyped-call]
    top = jnp.max(jnp.abs(blocks), axis=-1, keepdims=True)
    part, whole = math.frexp(most)
    share, exponent = jnp.frexp(top)
    shared = jnp.clip(exponent - whole + (up & (share > part)), -SCALES, SCALES)
    small = lax.optimization_barrier(  # type: ignore[no-untyped-call]
        jnp.clip(_shifted(blocks, -shared), -most, most).astype(ELEMENT)
    )
    found = _shifted(small.astype(blocks.dtype), shared)
    return jnp.where(jnp.isfinite(top), found, np.nan)


def _shifted(values: Array, exponent: Array) -> Array:
    """Times 2 to the exponent, in two steps: a float32 has no normal number below 2 ** -126."""
    half = exponent // 2
    one = jnp.ones((), values.dtype)
    return values * jnp.ldexp(one, half) * jnp.ldexp(one, exponent - half)


def is_multiplied(eqn: JaxprEqn, values: Sequence[Any]) -> bool:
    """Both operands are floating."""
    return all(jnp.issubdtype(jnp.result_type(value), jnp.floating) for value in values) and len(values) == 2
