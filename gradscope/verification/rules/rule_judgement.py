"""The verdict on one argument of one rule, at one visit.

Where the rule and the derivative of the function itself agree, the rule is right. Where they do not, a rule
that means to differ cannot be judged, and finite differences decide about any other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from gradscope.records import Verdict
from gradscope.verification.rules import rule_messages
from gradscope.verification.rules.comparing import (
    CLOSE,
    EXACT,
    ROUNDINGS,
    DerivativeComparison,
    proportion,
    rms,
)
from gradscope.verification.rules.deliberate import (
    RuleObservation,
    deliberate_reason,
    ignores_seed,
    reads_its_own,
    window,
)
from gradscope.verification.rules.derivatives import Vector, drawn
from gradscope.verification.rules.line_differences import Differences, ProbedLine, probe

SURE = 3.0
"""Times its uncertainty, within which a difference confirms what is predicted."""
APART = 5.0
"""Times its uncertainty, by which the two predictions must differ for a difference to choose between them."""
LINES = 4
ROUNDING_DOMINATES = 0.3
"""Rounding relative to the derivative, beyond which agreement means little."""
_KINK = 1.02
"""Times half the jump of the slope, for the rounding of the rule."""


@dataclass(frozen=True)
class Judgement:
    verdict: Verdict
    reason: str = ""
    ratio: float | None = None
    relative_error: float = 0.0
    uncertainty: float = 0.0
    window: float | None = None
    reads_its_own: bool = False


def agreed(compared: DerivativeComparison, eps: float) -> Judgement:
    """The judgement of a rule that agrees; the reason names what rounding does not explain."""
    note = ""
    if compared.noise > ROUNDING_DOMINATES:
        return Judgement(
            Verdict.CANNOT_JUDGE,
            rule_messages.ROUNDING_DOMINATES,
            None,
            compared.relative,
            _uncertainty(compared, eps),
        )
    if compared.relative > max(EXACT, ROUNDINGS * eps, 4 * compared.noise):
        note = f"it differs from the right derivative by {compared.relative:.1%}: an approximation"
    if compared.unknown:
        note = f"not compared in {compared.unknown} elements, where the function has no finite derivative"
    return Judgement(Verdict.RIGHT, note, compared.ratio, compared.relative, _uncertainty(compared, eps))


def disputed(observed: RuleObservation, differences: Differences, eps: float, *, iterates: bool) -> Judgement:
    """The judgement of a rule that differs from the derivative of its function."""
    compared = observed.compared

    def judged(verdict: Verdict, reason: str) -> Judgement:
        return Judgement(verdict, reason, compared.ratio, compared.relative, _uncertainty(compared, eps))

    if compared.broken:
        share = f"{compared.broken} of {len(observed.rule)} elements"
        reason = f"{_named(observed)} is not finite in {share}, and the right one is"
        return Judgement(Verdict.WRONG, reason, None, math.inf, _uncertainty(compared, eps))
    gap = np.where(compared.bad, observed.rule - compared.truth, 0.0)
    line = probe(differences, observed.number, observed.seeds, gap)
    evidence = _evidence(observed, line)
    if evidence.confirmed is not None:
        return judged(Verdict.RIGHT, evidence.confirmed)
    meant = deliberate_reason(observed)
    if meant is not None:
        return replace(judged(Verdict.CANNOT_JUDGE, meant), window=window(observed))
    if reads_its_own(observed):
        found = judged(Verdict.CANNOT_JUDGE, rule_messages.its_own(observed.argument))
        return replace(found, reads_its_own=True)
    if not evidence.decides:
        return judged(Verdict.CANNOT_JUDGE, rule_messages.UNCERTAIN)
    if iterates:
        return judged(Verdict.CANNOT_JUDGE, rule_messages.iterative(compared.relative))
    if observed.stopped and not evidence.supports_truth:
        return judged(Verdict.CANNOT_JUDGE, rule_messages.stopped(observed.argument))
    return judged(Verdict.WRONG, _fault(observed))


@dataclass(frozen=True)
class DifferenceEvidence:
    """What finite differences show of a rule that disagrees with the derivative of its function."""

    confirmed: str | None
    """Why the rule is right after all."""
    decides: bool
    """The differences are certain enough to choose between the rule and the derivative of the function."""
    supports_truth: bool


def _evidence(observed: RuleObservation, line: ProbedLine) -> DifferenceEvidence:
    found, uncertainty = line.estimate, line.estimate.uncertainty
    by_rule, by_truth = line.predicts(_finite(observed.rule)), line.predicts(_finite(observed.compared.truth))
    between = abs(by_rule - by_truth)
    of_rule, of_truth = abs(found.value - by_rule), abs(found.value - by_truth)
    if not np.isfinite(uncertainty):
        return DifferenceEvidence(None, False, False)
    confirmed = None
    if line.kink:
        uncertainty = max(uncertainty - line.kink, 0.0)
        # At a jump the slopes grow with finer steps instead of settling: no kink, and no slope is right.
        if line.kink < APART * between and of_rule <= _KINK * line.kink + SURE * uncertainty:
            confirmed = rule_messages.KINK
    decides = between >= APART * uncertainty
    if decides and of_rule <= SURE * uncertainty + between / 10:
        confirmed = confirmed or rule_messages.CONFIRMED
    return DifferenceEvidence(confirmed, decides, of_truth <= SURE * uncertainty + between / 10)


def _fault(observed: RuleObservation) -> str:
    what = _named(observed)
    if ignores_seed(observed):
        return f"{what} ignores the incoming gradient, by which it has to be multiplied"
    sizes = [size for value in (*observed.operands, *observed.results) for size in np.shape(value)]
    shape = np.shape(observed.operand) if observed.request.reverse else ()
    return rule_messages.wrong(observed.compared, observed.rule, shape, sizes, what)


def by_lines(
    observed: RuleObservation, differences: Differences, eps: float, *, iterates: bool, seed: int
) -> Judgement:
    """The judgement, by differences on several lines, of a rule whose function JAX cannot differentiate."""
    random = np.random.default_rng(seed)
    towards = [np.conj(observed.rule)] if np.any(observed.rule) and np.all(np.isfinite(observed.rule)) else []
    while len(towards) < LINES:
        towards.append(drawn(random, observed.rule.shape, observed.rule.dtype))
    lines = [probe(differences, observed.number, observed.seeds, each) for each in towards]
    predicts = np.array([line.predicts(observed.rule) for line in lines])
    values = np.array([line.estimate.value for line in lines])
    uncertainties = np.array([line.estimate.uncertainty for line in lines])
    if not np.all(np.isfinite(uncertainties)) or not np.all(np.isfinite(predicts)):
        return Judgement(Verdict.CANNOT_JUDGE, rule_messages.UNCERTAIN)
    size = float(np.max(np.abs(values)))
    apart = np.abs(values - predicts)
    relative = rms(apart) / rms(values) if size else float(rms(apart) > 0)
    ratio = proportion(predicts, values, 2 * CLOSE) if size else None
    measured = (ratio, relative, rms(uncertainties) / rms(values) if size else 0.0)
    if np.all(
        apart <= SURE * uncertainties + max(CLOSE, ROUNDINGS * eps) * np.maximum(size, np.abs(predicts))
    ):
        return Judgement(Verdict.RIGHT, "confirmed by finite differences alone", *measured)
    if not size:
        return Judgement(Verdict.CANNOT_JUDGE, rule_messages.flat(observed.argument), *measured)
    if observed.jumps:
        return Judgement(Verdict.CANNOT_JUDGE, rule_messages.jumps(observed.argument), *measured)
    if iterates:
        return Judgement(Verdict.CANNOT_JUDGE, rule_messages.iterative(relative), *measured)
    if np.any(apart > 2 * APART * uncertainties + 5 * CLOSE * size):
        off = "" if ratio is None else f": it is {ratio:.4g} times theirs"
        return Judgement(
            Verdict.WRONG, f"{_named(observed)} disagrees with finite differences{off}", *measured
        )
    return Judgement(Verdict.CANNOT_JUDGE, rule_messages.UNCERTAIN, *measured)


def _finite(values: Vector) -> Vector:
    return np.where(np.isfinite(values), values, 0.0)


def _named(observed: RuleObservation) -> str:
    return (
        f"the cotangent of `{observed.argument}`"
        if observed.request.reverse
        else f"the tangent for `{observed.argument}`"
    )


def _uncertainty(compared: DerivativeComparison, eps: float) -> float:
    return max(ROUNDINGS * eps, compared.noise)
