"""What plain equations do to their operands."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax.extend.core import JaxprEqn


def fan_in(eqn: JaxprEqn) -> int | None:
    """Elements summed into one element of the result, for products and convolutions."""
    if eqn.primitive.name == "dot_general":
        contracted: tuple[int, ...]
        (contracted, _), _ = eqn.params["dimension_numbers"]
        shape = _shape(eqn, 0)
        return math.prod(shape[axis] for axis in contracted)
    if eqn.primitive.name == "conv_general_dilated":
        kernel = _shape(eqn, 1)
        out_axis = eqn.params["dimension_numbers"].rhs_spec[0]
        return math.prod(size for axis, size in enumerate(kernel) if axis != out_axis)
    return None


def _shape(eqn: JaxprEqn, operand: int) -> tuple[int, ...]:
    aval: Any = eqn.invars[operand].aval
    return tuple(map(int, aval.shape))


def operation(eqn: JaxprEqn) -> Hashable | None:
    """Equal for equations that do the same to their operands; `None` where that cannot be told."""
    key = (eqn.primitive.name, tuple(sorted(eqn.params.items())), _shape(eqn, 0) if eqn.invars else ())
    try:
        hash(key)
    except TypeError:
        return None
    return key


def exponent(eqn: JaxprEqn) -> int:
    """Of `integer_pow`."""
    return int(eqn.params["y"])


def pairs_same_axes(eqn: JaxprEqn) -> bool:
    """A product that pairs each element of its first operand with the one at the same place of its second."""
    (left, right), (left_batch, right_batch) = eqn.params["dimension_numbers"]
    paired = [*left, *left_batch] == [*right, *right_batch]
    return paired and len(left) + len(left_batch) == len(_shape(eqn, 0))


def axes_of_product(eqn: JaxprEqn, side: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Of the left (0) or right (1) operand of a `dot_general`: its batch, its summed and its other axes."""
    summed, batch = (tuple(axes[side]) for axes in eqn.params["dimension_numbers"])
    ndim: int = eqn.invars[side].aval.ndim  # type: ignore[attr-defined]
    return batch, summed, tuple(axis for axis in range(ndim) if axis not in batch + summed)


def multiply_adds(eqn: JaxprEqn) -> int | None:
    """Pairs that a product or a convolution multiplies and adds; those with padding, or with the zeros of a
    dilated input, are none. `None` for other equations."""
    outs: Any = eqn.outvars[0].aval if eqn.outvars else None
    if eqn.primitive.name == "dot_general":
        return int(math.prod(outs.shape)) * (fan_in(eqn) or 0)
    if eqn.primitive.name != "conv_general_dilated":
        return None
    p, numbers = eqn.params, eqn.params["dimension_numbers"]
    image, kernel = _shape(eqn, 0), _shape(eqn, 1)
    pairs = [
        _pairs(image[left], kernel[right], outs.shape[out], *spans)
        for left, right, out, *spans in zip(
            numbers.lhs_spec[2:],
            numbers.rhs_spec[2:],
            numbers.out_spec[2:],
            p["window_strides"],
            (low for low, _ in p["padding"]),
            p["lhs_dilation"],
            p["rhs_dilation"],
            strict=True,
        )
    ]
    rows, features = (outs.shape[axis] for axis in numbers.out_spec[:2])
    return int(math.prod([*pairs, rows, features, kernel[numbers.rhs_spec[1]]]))


def _pairs(image: int, kernel: int, out: int, stride: int, low: int, spread: int, step: int) -> int:
    """Along one axis: places of the result and of the kernel that meet an element of the input."""
    at = stride * np.arange(out)[:, None] - low + step * np.arange(kernel)
    return int(np.sum((at >= 0) & (at <= (image - 1) * spread) & (at % spread == 0)))


def window(eqn: JaxprEqn) -> int:
    """Elements of the window of a `reduce_window`, or of its transpose."""
    return math.prod(eqn.params["window_dimensions"])


Axes = tuple[int, ...]


@dataclass(frozen=True)
class SummedAxes:
    """What a product adds up, and what those of its derivatives do: axes of both operands of each."""

    forward: tuple[Axes, Axes]
    """Of the left and of the right one."""
    to_left: tuple[Axes, Axes]
    """Of the result's cotangent and of the right one."""
    to_right: tuple[Axes, Axes]
    """Of the result's cotangent and of the left one."""


def summed_axes(eqn: JaxprEqn) -> SummedAxes:
    """Of a `dot_general`, or of a convolution, whose window is left out: places lie beside one another."""
    if eqn.primitive.name == "dot_general":
        (batch, left, of_left), (_, right, of_right) = (axes_of_product(eqn, side) for side in (0, 1))
        first = len(batch) + len(of_left)
        kept = tuple(range(len(batch), first))
        return SummedAxes(
            (left, right), (tuple(range(first, first + len(of_right))), of_right), (kept, of_left)
        )
    numbers = eqn.params["dimension_numbers"]
    (examples, channels, *places), out = numbers.lhs_spec, numbers.out_spec
    makes, takes = numbers.rhs_spec[:2]
    return SummedAxes(
        ((channels,), (takes,)), ((out[1],), (makes,)), ((out[0], *out[2:]), (examples, *places))
    )
