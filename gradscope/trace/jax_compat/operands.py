"""What plain equations do to their operands."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

from jax.extend.core import JaxprEqn


def single_row(eqn: JaxprEqn, result: int) -> int | None:
    """The index along axis 0 of the operand that the result is: `w[3]`, or one of `for row in w`."""
    if eqn.primitive.name == "unstack":
        return result if eqn.params["axis"] == 0 else None
    if eqn.primitive.name != "slice":
        return None
    start, stop = eqn.params["start_indices"], eqn.params["limit_indices"]
    whole = tuple(start[1:]) == (0,) * len(start[1:]) and tuple(stop[1:]) == _shape(eqn, 0)[1:]
    return int(start[0]) if whole and stop[0] == start[0] + 1 else None


def permutation(eqn: JaxprEqn) -> tuple[int, ...]:
    return tuple(eqn.params["permutation"])


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
