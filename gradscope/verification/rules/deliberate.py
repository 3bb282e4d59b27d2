"""How rules that differ from the derivative on purpose are told from wrong ones.

A function whose own derivative is right but of no use (an identity, a step, a rounding) has a custom rule
for the very reason that it should give something else. A rule may also bend what is right: clip it, or
keep it finite where the right one grows without bound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from gradscope.trace.jaxprs.inlining import live
from gradscope.verification.rules import rule_messages
from gradscope.verification.rules.comparing import CLOSE, DerivativeComparison, proportion, rms
from gradscope.verification.rules.derivatives import DerivativeRequest, Values, Vector, vector

STEEP = 1e3
"""Times the usual size, beyond which a derivative that the rule keeps small is taken for a singularity."""


@dataclass(frozen=True)
class RuleObservation:
    """What was measured of one argument of one call."""

    request: DerivativeRequest
    number: int
    """Of the argument, among those that were differentiated by."""
    operands: Values
    results: Values
    """As the function itself gives them, for the wanted ones."""
    seeds: list[Vector]
    rule: Vector
    own: Vector
    compared: DerivativeComparison
    rule_at: Callable[[list[Vector]], Vector]
    """The rule's derivative for other seeds."""
    own_at: Callable[[list[Vector]], Vector]
    rule_with: Callable[[int, Any], Vector]
    """The rule's derivative for another value of an operand, by its number."""
    jumps: bool
    """The function depends on the argument through a rounding or a comparison."""
    stopped: bool
    """The function holds a `stop_gradient`."""

    @property
    def operand(self) -> Any:
        return self.operands[self.request.by[self.number]]

    @property
    def argument(self) -> str:
        return self.request.call.argument(self.request.by[self.number])


def deliberate_reason(observed: RuleObservation) -> str | None:
    """Why the rule probably differs on purpose; `None` for a rule that should be right."""
    handed_on = _handed_on(observed)
    if handed_on is not None:
        return rule_messages.identity(observed.argument, proportion(observed.rule, handed_on, CLOSE))
    if not observed.compared.truth.any():
        return rule_messages.flat(observed.argument)
    if observed.jumps:
        return rule_messages.jumps(observed.argument)
    return _bends(observed) or _partly_flat(observed) or _bounded(observed)


def _handed_on(observed: RuleObservation) -> Vector | None:
    """The derivative of an identity, where the function is one in this argument."""
    here = np.asarray(observed.operand)
    copies = [
        i
        for i, result in enumerate(observed.results)
        if result.shape == here.shape and np.array_equal(np.asarray(result), here)
    ]
    if not copies:
        return None
    if observed.request.reverse:
        expected = vector([observed.seeds[copies[0]]])
    else:
        zeros = [np.zeros(result.shape, here.dtype) for result in observed.results]
        zeros[copies[0]] = observed.seeds[observed.number]
        expected = vector(zeros)
    truth = observed.compared.truth
    return expected if rms(truth - expected) <= CLOSE * rms(expected) else None


def window(observed: RuleObservation) -> float | None:
    """Share of the elements at which the rule gives a derivative that is not 0, where the right one is 0
    everywhere though the function reads the argument; `None` of any other rule. No seed is 0."""
    reads = _reads(observed)[observed.request.by[observed.number]]
    if observed.compared.truth.any() or not observed.rule.size or not reads:
        return None
    return float(np.mean(observed.rule != 0))


def reads_its_own(observed: RuleObservation) -> bool:
    """The rule depends on an array that the function takes and does not read: nobody hands one over by
    mistake."""
    for place, (value, reads) in enumerate(zip(observed.operands, _reads(observed), strict=True)):
        if reads or np.size(value) < 2 or not jnp.issubdtype(value.dtype, jnp.floating):
            continue
        factors = np.random.default_rng(place).normal(size=np.shape(value))
        other = observed.rule_with(place, value * jnp.asarray(factors, value.dtype))
        if rms(other - observed.rule) > CLOSE * rms(observed.rule):
            return True
    return False


def _reads(observed: RuleObservation) -> list[bool]:
    """By operand, whether a result of the function depends on it."""
    body = observed.request.call.rule.body
    return live(body, [True] * len(body.jaxpr.outvars))[1]


def _scaled(seeds: list[Vector], factor: float) -> list[Vector]:
    return [np.asarray(seed * np.asarray(factor, seed.dtype)) for seed in seeds]


def ignores_seed(observed: RuleObservation) -> bool:
    """The rule gives the same whatever the incoming gradient."""
    turned, doubled = (observed.rule_at(_scaled(observed.seeds, factor)) for factor in (-1.0, 2.0))
    if not rms(observed.rule):
        return False
    return max(rms(turned - observed.rule), rms(doubled - observed.rule)) <= CLOSE * rms(observed.rule)


def _bends(observed: RuleObservation) -> str | None:
    turned, doubled = (observed.rule_at(_scaled(observed.seeds, factor)) for factor in (-1.0, 2.0))
    size = max(rms(observed.rule), rms(doubled) / 2)
    off = np.maximum(np.abs(turned + observed.rule), np.abs(doubled - 2 * observed.rule) / 2)
    if not rms(off) > 2 * CLOSE * size or ignores_seed(observed):
        return None
    small = observed.rule_at(_scaled(observed.seeds, _SMALL)) / _SMALL
    right = rms(small - observed.compared.truth) <= 2 * CLOSE * rms(observed.compared.truth)
    return rule_messages.bends(int(np.sum(off > CLOSE * size)), bool(right))


_SMALL = 2.0**-10


def _partly_flat(observed: RuleObservation) -> str | None:
    """A clip whose rule lets the gradient through; not a mask, another argument, that the rule forgets."""
    bad, truth = observed.compared.bad, observed.compared.truth
    if observed.compared.broken or np.any(truth[bad]) or not bad.any() or not _elementwise(observed):
        return None
    return rule_messages.partly_flat(observed.argument, int(bad.sum()), len(bad))


def _elementwise(observed: RuleObservation) -> bool:
    """Each element of the result comes from the one at its place; beside them there are only scalars."""
    here = np.asarray(observed.operand)
    others = [
        np.size(value)
        for i, value in enumerate(observed.operands)
        if i != observed.request.by[observed.number]
    ]
    if (
        len(observed.results) != 1
        or observed.results[0].shape != here.shape
        or any(size > 1 for size in others)
    ):
        return False
    at = 0 if observed.request.reverse else observed.number
    half = np.arange(here.size).reshape(here.shape) % 2 == 0
    seeds = [np.asarray(s * half.astype(s.dtype)) if i == at else s for i, s in enumerate(observed.seeds)]
    return bool(np.array_equal(observed.own_at(seeds), observed.own * half.ravel(), equal_nan=True))


def _bounded(observed: RuleObservation) -> str | None:
    bad, size = observed.compared.bad, np.abs(observed.compared.truth)
    good = size[~bad & (size > 0)]
    if not len(good) or not bad.any():
        return None
    steep = np.all(size[bad] > STEEP * np.median(good)) and np.all(np.abs(observed.rule[bad]) < size[bad])
    return rule_messages.bounded(int(bad.sum())) if steep else None
