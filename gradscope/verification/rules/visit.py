"""Judges one call of a rule at one set of captured operands, argument by argument."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import jax.numpy as jnp
import numpy as np

from gradscope.errors import GradscopeError
from gradscope.records import Verdict
from gradscope.trace.compiling import NotEnoughMemory
from gradscope.trace.jaxprs import CannotWiden
from gradscope.verification.rules.comparing import EXACT, ROUNDINGS, compare
from gradscope.verification.rules.deliberate import RuleObservation
from gradscope.verification.rules.derivatives import (
    DerivativeRequest,
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
from gradscope.verification.rules.find import RuleCall
from gradscope.verification.rules.line_differences import Differences
from gradscope.verification.rules.rule_judgement import Judgement, agreed, by_lines, disputed
from gradscope.verification.smoothness import iterates, jumping, stops

T = TypeVar("T")

STREAM = 0x67726164
"""Mixed into the seed, so that the cotangents are not the numbers that the user drew as data."""


@dataclass(frozen=True)
class ResultsAndDerivatives:
    """Results and derivatives, either by the rule or of the function itself."""

    results: Values
    derivatives: list[Vector]


class RuleRaises(Exception):
    """The user's rule cannot be traced; the text is the reason to report."""


_PERTURBATIONS = 3
_SHOWN = 120
"""The most characters of the user's message that are shown."""


class VisitedCall:
    """The derivatives of a call at one set of operands."""

    def __init__(self, request: DerivativeRequest, operands: Values, programs: Programs, seed: int) -> None:
        self._request, self._operands, self._programs, self._seed = request, operands, programs, seed
        self._call: RuleCall = request.call
        self._seeds = request.seeds(operands, np.random.default_rng([seed, STREAM]))

    def judgements(self) -> Iterator[tuple[int | None, Judgement]]:
        """By operand, or one for all of them where the results already differ.

        Raises `RuleRaises` where the user's rule raises anything.
        """
        try:
            rule = self._of(by_rule(self._call), self._seeds)
        except NotEnoughMemory:
            raise
        except GradscopeError as error:
            cause = error.__cause__ or error
            text = str(cause).strip().split("\n")[0][:_SHOWN]
            raise RuleRaises(f"its rule raises {type(cause).__name__}: {text}") from error
        own = self._tried(as_written(self._call))
        results = own.results if own else self._results() or rule.results
        if any(np.isnan(np.asarray(value).astype(np.complex128)).any() for value in results):
            for operand in self._request.by:
                yield operand, Judgement(Verdict.CANNOT_JUDGE, "its result is NaN at its operands")
            return
        forward = self._forward_differs(rule.results, results)
        if forward is not None:
            yield None, forward
            return
        for number, operand in enumerate(self._request.by):
            yield operand, self._judge(number, results, rule, own)

    def _judge(
        self, number: int, results: Values, rule: ResultsAndDerivatives, own: ResultsAndDerivatives | None
    ) -> Judgement:
        eps = self._eps()
        if own is not None:
            first = compare(rule.derivatives[number], own.derivatives[number], None, eps)
            if first.agrees and not first.unknown and first.relative <= max(EXACT, ROUNDINGS * eps):
                return self._in_window(number, agreed(first, eps), own.derivatives[number])
        wide = self._tried(in_float64(self._call), wide=True)
        truth = own or wide
        nothing = np.full(rule.derivatives[number].shape, np.nan)
        compared = compare(
            rule.derivatives[number],
            truth.derivatives[number] if truth else nothing,
            wide.derivatives[number] if wide else None,
            eps,
            self._sensitivity(number, rule, eps),
        )
        known = truth is not None and np.isfinite(compared.truth).any()
        if known and compared.agrees:
            return agreed(compared, eps)
        observed = self._observed(number, results, rule, compared, truth)
        exact = self._tried_plain(in_float64(self._call), wide=True) is not None
        differences = Differences(self._request, self._programs, self._operands, exact)
        loops = iterates(self._call.rule.body)
        if known:
            return disputed(observed, differences, eps, iterates=loops)
        return by_lines(observed, differences, eps, iterates=loops, seed=self._seed)

    def _in_window(self, number: int, found: Judgement, truth: Vector) -> Judgement:
        """A surrogate that is 0 everywhere agrees with the derivative of the step that it stands for."""
        flat = not truth.any() and jumping(self._call.rule.body)[self._request.by[number]]
        return replace(found, window=0.0) if flat else found

    def _sensitivity(self, number: int, rule: ResultsAndDerivatives, eps: float) -> Vector:
        """How far the rule's derivative changes when its operands and seeds do in their last place.

        That is the noise of a rule which subtracts nearly equal numbers, such as that of an attention whose
        weights are all on one key.
        """
        random = np.random.default_rng([self._seed, STREAM, number])
        moved = np.zeros(rule.derivatives[number].shape)
        run = self._request.derivative(by_rule(self._call))
        for _ in range(_PERTURBATIONS):
            operands = [_perturbed(value, random, eps) for value in self._operands]
            seeds = [_perturbed(seed, random, eps) for seed in self._seeds]
            _, found = self._programs.run(run, operands, seeds)
            moved = np.fmax(moved, np.abs(vector(found[number]) - rule.derivatives[number]))
        return moved

    def _observed(
        self,
        number: int,
        results: Values,
        rule: ResultsAndDerivatives,
        compared: Any,
        truth: ResultsAndDerivatives | None,
    ) -> RuleObservation:
        operand = self._request.by[number]

        def at(function: Function, seeds: list[Vector]) -> Vector:
            found = self._of(function, seeds)
            return found.derivatives[number]

        own = truth.derivatives[number] if truth else compared.truth
        return RuleObservation(
            request=self._request,
            number=number,
            operands=self._operands,
            results=results,
            seeds=self._seeds,
            rule=rule.derivatives[number],
            own=own,
            compared=compared,
            rule_at=lambda seeds: at(by_rule(self._call), seeds),
            own_at=lambda seeds: at(as_written(self._call), seeds),
            rule_with=lambda place, value: self._with(place, value).derivatives[number],
            jumps=jumping(self._call.rule.body)[operand],
            stopped=stops(self._call.rule.body),
        )

    def _of(self, function: Function, seeds: list[Vector], *, wide: bool = False) -> ResultsAndDerivatives:
        run = self._request.derivative(function)
        outs, found = self._programs.run(run, self._operands, seeds, wide=wide)
        return ResultsAndDerivatives(outs, [vector(parts) for parts in found])

    def _with(self, place: int, value: Any) -> ResultsAndDerivatives:
        """By the rule, with another value of one operand."""
        operands = [value if i == place else each for i, each in enumerate(self._operands)]
        run = self._request.derivative(by_rule(self._call))
        outs, found = self._programs.run(run, operands, self._seeds)
        return ResultsAndDerivatives(outs, [vector(parts) for parts in found])

    def _tried(self, function: Function, *, wide: bool = False) -> ResultsAndDerivatives | None:
        """`None` for a function that JAX cannot differentiate, or not in float64."""
        return _unless_refused(lambda: self._of(function, self._seeds, wide=wide))

    def _tried_plain(self, function: Function, *, wide: bool = False) -> Values | None:
        def results(operands: Values) -> Values:
            outs = function(operands)
            return [outs[i] for i in self._request.wanted]

        return _unless_refused(lambda: list(self._programs.run(results, self._operands, wide=wide)))

    def _results(self) -> Values | None:
        return self._tried_plain(as_written(self._call))

    def _forward_differs(self, rule: Values, own: Values) -> Judgement | None:
        """If the forward half of the rule gives other results, differentiating the loss changes its value."""
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
        """The rounding of the coarsest dtype among operands and results."""
        avals: list[Any] = [self._call.eqn.outvars[i].aval for i in self._request.wanted]
        kinds = [aval.dtype for aval in avals] + [self._operands[i].dtype for i in self._request.by]
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


def _perturbed(value: Any, random: np.random.Generator, eps: float) -> Any:
    if not jnp.issubdtype(value.dtype, jnp.inexact):
        return value
    signs = random.choice(np.array([-1.0, 1.0]), size=np.shape(value))
    return jnp.asarray(value + np.asarray(eps * signs, value.dtype) * value, value.dtype)
