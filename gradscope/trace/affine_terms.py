"""The terms that a value is a sum of: back from it through sums, factors without a gradient, and views."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gradscope.trace.graph import Quantity, viewed
from gradscope.trace.vocabulary import VIEWS

MOST = 256
"""Terms that are told apart."""
_KEPT = VIEWS | {"slice", "dynamic_slice", "reduce_sum"}
"""Linear in their first operand, and in no other one."""
_JOINED = frozenset({"concatenate", "stack", "split", "pad"})


@dataclass(frozen=True, eq=False)
class AffineTerm:
    base: Quantity
    factor: float
    """The product of the numbers that multiply it."""
    weights: tuple[Quantity, ...]
    """Arrays without a gradient that multiply it, or choose it."""
    summed: bool
    """A sum over elements is on the way to it."""


def affine_terms(value: Quantity) -> list[AffineTerm]:
    """Of what has no gradient one term. One that is added twice stands twice."""
    found: list[AffineTerm] = []
    waiting: list[tuple[Quantity, float, tuple[Quantity, ...], bool]] = [(value, 1.0, (), False)]
    while waiting and len(found) < MOST:
        each, factor, weights, summed = waiting.pop()
        parts = _parts(each) if each.grad else []
        if not parts:
            found.append(AffineTerm(each, factor, weights, summed))
        summed = summed or (each.node is not None and each.node.name == "reduce_sum")
        for part, times, by in reversed(parts):
            waiting.append((part, factor * times, weights if by is None else (*weights, by), summed))
    return found


def _parts(value: Quantity) -> list[tuple[Quantity, float, Quantity | None]]:
    node = value.node
    assert node is not None or value.grad
    if node is None:
        return []
    operands = node.operands
    if node.name in _JOINED:
        return [(each, 1.0, None) for each in operands if each.grad]
    if node.name in _KEPT:
        return [(operands[0], 1.0, None)]
    if node.name == "neg":
        return [(operands[0], -1.0, None)]
    if node.name in ("add", "add_any", "sub"):
        signs = (1.0, -1.0 if node.name == "sub" else 1.0)
        return [(each, sign, None) for each, sign in zip(operands, signs, strict=True)]
    if node.name == "select_n" and not operands[0].grad:
        return [(each, 1.0, operands[0]) for each in operands[1:]]
    if node.name in ("mul", "div"):
        moving = [each for each in operands if each.grad]
        if len(moving) == 1 and (node.name == "mul" or moving[0] is operands[0]):
            (other,) = (each for each in operands if each is not moving[0])
            number = number_of(other)
            if number is None:
                return [(moving[0], 1.0, other)]
            return [(moving[0], number if node.name == "mul" else 1 / number if number else np.nan, None)]
    return []


def number_of(value: Quantity) -> float | None:
    """Of a literal, or of a constant of one element, in any shape and dtype."""
    value = viewed(value)
    known = value.number if value.number is not None else value.constant
    if known is None or np.size(known) != 1 or not np.issubdtype(np.asarray(known).dtype, np.number):
        return None
    return float(np.asarray(known).reshape(()))
