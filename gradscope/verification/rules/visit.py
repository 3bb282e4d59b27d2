"""One place at one visit: every argument of its rule, from the operands it really got."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import jax.numpy as jnp
import numpy as np

from gradscope.errors import GradscopeError
from gradscope.records import Verdict
from gradscope.trace.compiling import NotEnoughMemory
from gradscope.trace.jaxprs import CannotWiden
from gradscope.verification.rules.along import Differences
from gradscope.verification.rules.comparing import EXACT, ROUNDINGS, compare
from gradscope.verification.rules.deliberate import Seen
from gradscope.verification.rules.derivatives import (
    Asked,
    Function,
    Programs,
    Values,
    Vector,
    as_written,
    by_rule,
    in_float64,
    precision_of,
    vector,
)
from gradscope.verification.rules.find import Place
from gradscope.verification.rules.judging import Judgement, agreed, by_lines, disputed
from gradscope.verification.smoothness import iterates, jumping, stops

T = TypeVar("T")

STREAM = 0x67726164
"""Beside the seed, so that the cotangents are not the very numbers that the user drew as data."""


@dataclass(frozen=True)
class Both:
    """Results and derivatives by one function, the rule's or its own."""

    results: Values
    derivatives: list[Vector]


class RuleRaises(Exception):
    """The user's rule cannot be traced; its text is what to tell."""


_SHAKES = 3
_SHOWN = 120
"""Characters of the user's message."""


class Visit:
    """The derivatives of a place at one set of operands, each computed when it is first asked for."""

    def __init__(self, asked: Asked, operands: Values, programs: Programs, seed: int) -> None:
        self._asked, self._operands, self._programs, self._seed = asked, operands, programs, seed
        self._place: Place = asked.place
        self._seeds = asked.seeds(operands, np.random.default_rng([seed, STREAM]))

    def judgements(self) -> Iterator[tuple[int | None, Judgement]]:
        """By operand, or one for all of them where the results are wrong already.

        Raises `RuleRaises` where the user's rule raises anything.
        """
        try:
            rule = self._of(by_rule(self._place), self._seeds)
        except NotEnoughMemory:
            raise
        except GradscopeError as error:
            cause = error.__cause__ or error
            text = str(cause).strip().split("\n")[0][:_SHOWN]
            raise RuleRaises(f"its rule raises {type(cause).__name__}: {text}") from error
        own = self._tried(as_written(self._place))
        results = own.results if own else self._results() or rule.results
        if any(np.isnan(np.asarray(value).astype(np.complex128)).any() for value in results):
            for operand in self._asked.by:
                yield operand, Judgement(Verdict.CANNOT_JUDGE, "its result is NaN at the values that it gets")
            return
        forward = self._forward_differs(rule.results, results)
        if forward is not None:
            yield None, forward
            return
        for number, operand in enumerate(self._asked.by):
            yield operand, self._judge(number, results, rule, own)

    def _judge(self, number: int, results: Values, rule: Both, own: Both | None) -> Judgement:
        eps = self._eps()
        if own is not None:
            first = compare(rule.derivatives[number], own.derivatives[number], None, eps)
            if first.agrees and not first.unknown and first.relative <= max(EXACT, ROUNDINGS * eps):
                return agreed(first, eps)
        wide = self._tried(in_float64(self._place), wide=True)
        truth = own or wide
        nothing = np.full(rule.derivatives[number].shape, np.nan)
        compared = compare(
            rule.derivatives[number],
            truth.derivatives[number] if truth else nothing,
            wide.derivatives[number] if wide else None,
            eps,
            self._unsteady(number, rule, eps),
        )
        known = truth is not None and np.isfinite(compared.truth).any()
        if known and compared.agrees:
            return agreed(compared, eps)
        seen = self._seen(number, results, rule, compared, truth)
        exact = self._tried_plain(in_float64(self._place), wide=True) is not None
        differences = Differences(self._asked, self._programs, self._operands, exact)
        loops = iterates(self._place.rule.body)
        if known:
            return disputed(seen, differences, eps, iterates=loops)
        return by_lines(seen, differences, eps, iterates=loops, seed=self._seed)

    def _unsteady(self, number: int, rule: Both, eps: float) -> Vector:
        """How far the rule's derivative moves when its operands and seeds do in their last place.

        That is the noise of a rule which subtracts nearly equal numbers, as that of an attention whose
        weights are all at one key does.
        """
        random = np.random.default_rng([self._seed, STREAM, number])
        moved = np.zeros(rule.derivatives[number].shape)
        run = self._asked.derivative(by_rule(self._place))
        for _ in range(_SHAKES):
            operands = [_shaken(value, random, eps) for value in self._operands]
            seeds = [_shaken(seed, random, eps) for seed in self._seeds]
            _, found = self._programs.run(run, operands, seeds)
            moved = np.fmax(moved, np.abs(vector(found[number]) - rule.derivatives[number]))
        return moved

    def _seen(self, number: int, results: Values, rule: Both, compared: Any, truth: Both | None) -> Seen:
        operand = self._asked.by[number]

        def at(function: Function, seeds: list[Vector]) -> Vector:
            found = self._of(function, seeds)
            return found.derivatives[number]

        own = truth.derivatives[number] if truth else compared.truth
        return Seen(
            asked=self._asked,
            number=number,
            operands=self._operands,
            results=results,
            seeds=self._seeds,
            rule=rule.derivatives[number],
            own=own,
            compared=compared,
            rule_at=lambda seeds: at(by_rule(self._place), seeds),
            own_at=lambda seeds: at(as_written(self._place), seeds),
            jumps=jumping(self._place.rule.body)[operand],
            stopped=stops(self._place.rule.body),
        )

    def _of(self, function: Function, seeds: list[Vector], *, wide: bool = False) -> Both:
        run = self._asked.derivative(function)
        outs, found = self._programs.run(run, self._operands, seeds, wide=wide)
        return Both(outs, [vector(parts) for parts in found])

    def _tried(self, function: Function, *, wide: bool = False) -> Both | None:
        """`None` for a function that JAX cannot differentiate, or not in float64."""
        return _unless_refused(lambda: self._of(function, self._seeds, wide=wide))

    def _tried_plain(self, function: Function, *, wide: bool = False) -> Values | None:
        def results(operands: Values) -> Values:
            outs = function(operands)
            return [outs[i] for i in self._asked.wanted]

        return _unless_refused(lambda: list(self._programs.run(results, self._operands, wide=wide)))

    def _results(self) -> Values | None:
        return self._tried_plain(as_written(self._place))

    def _forward_differs(self, rule: Values, own: Values) -> Judgement | None:
        """The forward half of the rule gives other results: the loss changes when it is differentiated."""
        mine, theirs = vector(rule), vector(own)
        compared = compare(mine, theirs, None, self._eps())
        if compared.agrees:
            return None
        reason = (
            f"the forward half of its rule gives other results than the function: they differ by "
            f"{compared.relative:.2g} of their size"
        )
        return Judgement(Verdict.WRONG, reason, None, compared.relative, ROUNDINGS * self._eps())

    def _eps(self) -> float:
        """Of the coarsest precision that goes in or comes out."""
        avals: list[Any] = [self._place.eqn.outvars[i].aval for i in self._asked.wanted]
        kinds = [aval.dtype for aval in avals] + [self._operands[i].dtype for i in self._asked.by]
        return max(map(precision_of, kinds))


def _unless_refused(run: Callable[[], T]) -> T | None:
    """The result, or `None` where the user's code or JAX refuses; never for a mistake of ours, or for want
    of memory."""
    try:
        return run()
    except NotEnoughMemory:
        raise
    except (GradscopeError, CannotWiden):
        return None


def _shaken(value: Any, random: np.random.Generator, eps: float) -> Any:
    if not jnp.issubdtype(value.dtype, jnp.inexact):
        return value
    signs = random.choice(np.array([-1.0, 1.0]), size=np.shape(value))
    return jnp.asarray(value + np.asarray(eps * signs, value.dtype) * value, value.dtype)
