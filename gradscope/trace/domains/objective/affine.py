"""In which parameters a value is no affine function: a loss that is affine in one has no minimum in it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_

from jax.extend.core import JaxprEqn

from gradscope.trace.vocabulary import PARTS, PRODUCTS, SIDE_BY_SIDE, VIEWS

LINEAR = (
    VIEWS
    | SIDE_BY_SIDE - {"pmax", "pmin"}
    | {
        "add",
        "sub",
        "add_any",
        "neg",
        "reduce_sum",
        "concatenate",
        "stack",
        "unstack",
        "pad",
        "slice",
        "split",
    }
    | {"cumsum", "reduce_window_sum", "real", "imag"}
) - {"reduce_precision"}
BILINEAR = PRODUCTS | {"mul"}


def bent(eqn: JaxprEqn, leaves: Sequence[int], before: Sequence[int]) -> int:
    """The leaves in which the result is not affine, given those of each operand, and its own such leaves."""
    name, found = eqn.primitive.name, reduce(or_, before, 0)
    everything = found | reduce(or_, leaves, 0)
    if name in LINEAR:
        return found
    if name in BILINEAR:
        return found | (leaves[0] & leaves[1])
    if name == "div":
        return found | leaves[1]
    if name in PARTS:
        return found | reduce(or_, leaves[1:], 0)
    if name == "select_n":
        return found | leaves[0]
    return everything
