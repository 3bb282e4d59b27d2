"""What plain equations do to their operands."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

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
