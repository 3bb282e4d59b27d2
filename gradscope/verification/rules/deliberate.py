"""Rules that differ from the derivative on purpose: what tells them from wrong ones.

A function whose own derivative is right but of no use (an identity, a step, a rounding) has a custom rule
for the very reason that it should give something else. A rule may also bend what is right: clip it, or
keep it finite where the right one grows without bound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradscope.verification.rules import words
from gradscope.verification.rules.comparing import CLOSE, Comparison, proportion, rms
from gradscope.verification.rules.derivatives import Asked, Values, Vector, vector

STEEP = 1e3
"""Times the usual size, beyond which a derivative that the rule keeps small is taken for a singularity."""


@dataclass(frozen=True)
class Seen:
    """What was measured of one argument at one visit."""

    asked: Asked
    number: int
    """Of the argument, among those that were differentiated by."""
    operands: Values
    results: Values
    """As the function itself gives them, for the wanted ones."""
    seeds: list[Vector]
    rule: Vector
    own: Vector
    compared: Comparison
    rule_at: Callable[[list[Vector]], Vector]
    """The rule's derivative for other seeds."""
    own_at: Callable[[list[Vector]], Vector]
    jumps: bool
    """The function depends on the argument through a rounding or a comparison."""
    stopped: bool
    """The function holds a `stop_gradient`."""

    @property
    def operand(self) -> Any:
        return self.operands[self.asked.by[self.number]]

    @property
    def argument(self) -> str:
        return self.asked.place.argument(self.asked.by[self.number])


def purpose(seen: Seen) -> str | None:
    """Why the rule is likely to be meant as it is; `None` for a rule that ought to be right."""
    handed_on = _handed_on(seen)
    if handed_on is not None:
        return words.identity(seen.argument, proportion(seen.rule, handed_on, CLOSE))
    if not seen.compared.truth.any():
        return words.flat(seen.argument)
    if seen.jumps:
        return words.jumps(seen.argument)
    return _bends(seen) or _partly_flat(seen) or _bounded(seen)


def _handed_on(seen: Seen) -> Vector | None:
    """The derivative of an identity, where the function is one in this argument."""
    here = np.asarray(seen.operand)
    copies = [
        i
        for i, result in enumerate(seen.results)
        if result.shape == here.shape and np.array_equal(np.asarray(result), here)
    ]
    if not copies:
        return None
    if seen.asked.reverse:
        expected = vector([seen.seeds[copies[0]]])
    else:
        zeros = [np.zeros(result.shape, here.dtype) for result in seen.results]
        zeros[copies[0]] = seen.seeds[seen.number]
        expected = vector(zeros)
    truth = seen.compared.truth
    return expected if rms(truth - expected) <= CLOSE * rms(expected) else None


def _scaled(seeds: list[Vector], factor: float) -> list[Vector]:
    return [np.asarray(seed * np.asarray(factor, seed.dtype)) for seed in seeds]


def ignores_seed(seen: Seen) -> bool:
    """The rule gives the same whatever comes in."""
    turned, doubled = (seen.rule_at(_scaled(seen.seeds, factor)) for factor in (-1.0, 2.0))
    if not rms(seen.rule):
        return False
    return max(rms(turned - seen.rule), rms(doubled - seen.rule)) <= CLOSE * rms(seen.rule)


def _bends(seen: Seen) -> str | None:
    turned, doubled = (seen.rule_at(_scaled(seen.seeds, factor)) for factor in (-1.0, 2.0))
    size = max(rms(seen.rule), rms(doubled) / 2)
    off = np.maximum(np.abs(turned + seen.rule), np.abs(doubled - 2 * seen.rule) / 2)
    if not rms(off) > 2 * CLOSE * size or ignores_seed(seen):
        return None
    small = seen.rule_at(_scaled(seen.seeds, _SMALL)) / _SMALL
    right = rms(small - seen.compared.truth) <= 2 * CLOSE * rms(seen.compared.truth)
    return words.bends(int(np.sum(off > CLOSE * size)), bool(right))


_SMALL = 2.0**-10


def _partly_flat(seen: Seen) -> str | None:
    """A clip whose rule lets the gradient through; not a mask, another argument, that the rule forgets."""
    bad, truth = seen.compared.bad, seen.compared.truth
    if seen.compared.broken or np.any(truth[bad]) or not bad.any() or not _elementwise(seen):
        return None
    return words.partly_flat(seen.argument, int(bad.sum()), len(bad))


def _elementwise(seen: Seen) -> bool:
    """Each element of the result comes from the one at its place; beside them there are only scalars."""
    here = np.asarray(seen.operand)
    others = [np.size(value) for i, value in enumerate(seen.operands) if i != seen.asked.by[seen.number]]
    if len(seen.results) != 1 or seen.results[0].shape != here.shape or any(size > 1 for size in others):
        return False
    at = 0 if seen.asked.reverse else seen.number
    half = np.arange(here.size).reshape(here.shape) % 2 == 0
    seeds = [np.asarray(s * half.astype(s.dtype)) if i == at else s for i, s in enumerate(seen.seeds)]
    return bool(np.array_equal(seen.own_at(seeds), seen.own * half.ravel(), equal_nan=True))


def _bounded(seen: Seen) -> str | None:
    bad, size = seen.compared.bad, np.abs(seen.compared.truth)
    good = size[~bad & (size > 0)]
    if not len(good) or not bad.any():
        return None
    steep = np.all(size[bad] > STEEP * np.median(good)) and np.all(np.abs(seen.rule[bad]) < size[bad])
    return words.bounded(int(bad.sum())) if steep else None
