"""The verdict on one argument of one rule, at one visit.

Where the rule and the derivative of the function itself agree, the rule is right. Where they do not, a rule
that means to differ cannot be judged, and finite differences decide about any other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gradscope.records import Verdict
from gradscope.verification.rules import words
from gradscope.verification.rules.along import Differences, Probe, probe
from gradscope.verification.rules.comparing import CLOSE, EXACT, ROUNDINGS, Comparison, proportion, rms
from gradscope.verification.rules.deliberate import Seen, ignores_seed, purpose
from gradscope.verification.rules.derivatives import Vector, drawn

SURE = 3.0
"""Times its uncertainty, within which a difference confirms what is predicted."""
APART = 5.0
"""Times its uncertainty, by which the two predictions must differ for a difference to choose between them."""
LINES = 4
DROWNED = 0.3
"""Rounding over the derivative, beyond which agreeing with it says little."""
_KINK = 1.02
"""Times half the jump of the slope, for the rounding of the rule."""


@dataclass(frozen=True)
class Judgement:
    verdict: Verdict
    reason: str = ""
    ratio: float | None = None
    relative_error: float = 0.0
    uncertainty: float = 0.0


def agreed(compared: Comparison, eps: float) -> Judgement:
    """The rule is right; a reader is told of what rounding does not explain."""
    note = ""
    if compared.noise > DROWNED:
        return Judgement(
            Verdict.CANNOT_JUDGE, words.DROWNED, None, compared.relative, _uncertainty(compared, eps)
        )
    if compared.relative > max(EXACT, ROUNDINGS * eps, 4 * compared.noise):
        note = f"it differs from the right derivative by {compared.relative:.1%}: an approximation"
    if compared.unknown:
        note = f"not compared in {compared.unknown} elements, where the function has no finite derivative"
    return Judgement(Verdict.RIGHT, note, compared.ratio, compared.relative, _uncertainty(compared, eps))


def disputed(seen: Seen, differences: Differences, eps: float, *, iterates: bool) -> Judgement:
    """The rule and the derivative of the function itself differ."""
    compared = seen.compared

    def judged(verdict: Verdict, reason: str) -> Judgement:
        return Judgement(verdict, reason, compared.ratio, compared.relative, _uncertainty(compared, eps))

    if compared.broken:
        share = f"{compared.broken} of {len(seen.rule)} elements"
        reason = f"{_named(seen)} is not finite in {share}, and the right one is"
        return Judgement(Verdict.WRONG, reason, None, math.inf, _uncertainty(compared, eps))
    gap = np.where(compared.bad, seen.rule - compared.truth, 0.0)
    line = probe(differences, seen.number, seen.seeds, gap)
    stands = _stands(seen, line)
    if stands.confirmed is not None:
        return judged(Verdict.RIGHT, stands.confirmed)
    meant = purpose(seen)
    if meant is not None:
        return judged(Verdict.CANNOT_JUDGE, meant)
    if not stands.decides:
        return judged(Verdict.CANNOT_JUDGE, words.UNCERTAIN)
    if iterates:
        return judged(Verdict.CANNOT_JUDGE, words.iterative(compared.relative))
    if seen.stopped and not stands.supports_truth:
        return judged(Verdict.CANNOT_JUDGE, words.stopped(seen.argument))
    return judged(Verdict.WRONG, _fault(seen))


@dataclass(frozen=True)
class Stands:
    """What finite differences say about a rule that looks wrong."""

    confirmed: str | None
    """Why the rule is right after all."""
    decides: bool
    """They are certain enough to choose between the rule and the derivative of the function."""
    supports_truth: bool


def _stands(seen: Seen, line: Probe) -> Stands:
    found, doubt = line.estimate, line.estimate.uncertainty
    by_rule, by_truth = line.says(_finite(seen.rule)), line.says(_finite(seen.compared.truth))
    between = abs(by_rule - by_truth)
    of_rule, of_truth = abs(found.value - by_rule), abs(found.value - by_truth)
    if not np.isfinite(doubt):
        return Stands(None, False, False)
    confirmed = None
    if line.kink:
        doubt = max(doubt - line.kink, 0.0)
        # At a jump the slopes grow with finer steps instead of settling: no kink, and no slope is right.
        if line.kink < APART * between and of_rule <= _KINK * line.kink + SURE * doubt:
            confirmed = words.KINK
    decides = between >= APART * doubt
    if decides and of_rule <= SURE * doubt + between / 10:
        confirmed = confirmed or words.CONFIRMED
    return Stands(confirmed, decides, of_truth <= SURE * doubt + between / 10)


def _fault(seen: Seen) -> str:
    what = _named(seen)
    if ignores_seed(seen):
        return f"{what} ignores the gradient that comes in: it has to be multiplied by it"
    sizes = [size for value in (*seen.operands, *seen.results) for size in np.shape(value)]
    shape = np.shape(seen.operand) if seen.asked.reverse else ()
    return words.wrong(seen.compared, seen.rule, shape, sizes, what)


def by_lines(seen: Seen, differences: Differences, eps: float, *, iterates: bool, seed: int) -> Judgement:
    """The function itself cannot be differentiated: the rule against differences along several lines."""
    random = np.random.default_rng(seed)
    towards = [np.conj(seen.rule)] if np.any(seen.rule) and np.all(np.isfinite(seen.rule)) else []
    while len(towards) < LINES:
        towards.append(drawn(random, seen.rule.shape, seen.rule.dtype))
    lines = [probe(differences, seen.number, seen.seeds, each) for each in towards]
    says = np.array([line.says(seen.rule) for line in lines])
    values = np.array([line.estimate.value for line in lines])
    doubts = np.array([line.estimate.uncertainty for line in lines])
    if not np.all(np.isfinite(doubts)) or not np.all(np.isfinite(says)):
        return Judgement(Verdict.CANNOT_JUDGE, words.UNCERTAIN)
    size = float(np.max(np.abs(values)))
    apart = np.abs(values - says)
    relative = rms(apart) / rms(values) if size else float(rms(apart) > 0)
    ratio = proportion(says, values, 2 * CLOSE) if size else None
    measured = (ratio, relative, rms(doubts) / rms(values) if size else 0.0)
    if np.all(apart <= SURE * doubts + max(CLOSE, ROUNDINGS * eps) * np.maximum(size, np.abs(says))):
        return Judgement(Verdict.RIGHT, "by finite differences alone", *measured)
    if not size:
        return Judgement(Verdict.CANNOT_JUDGE, words.flat(seen.argument), *measured)
    if seen.jumps:
        return Judgement(Verdict.CANNOT_JUDGE, words.jumps(seen.argument), *measured)
    if iterates:
        return Judgement(Verdict.CANNOT_JUDGE, words.iterative(relative), *measured)
    if np.any(apart > 2 * APART * doubts + 5 * CLOSE * size):
        off = "" if ratio is None else f", {ratio:.4g} times what they give"
        return Judgement(Verdict.WRONG, f"{_named(seen)} is not what finite differences give{off}", *measured)
    return Judgement(Verdict.CANNOT_JUDGE, words.UNCERTAIN, *measured)


def _finite(values: Vector) -> Vector:
    return np.where(np.isfinite(values), values, 0.0)


def _named(seen: Seen) -> str:
    return (
        f"the cotangent of `{seen.argument}`" if seen.asked.reverse else f"the tangent for `{seen.argument}`"
    )


def _uncertainty(compared: Comparison, eps: float) -> float:
    return max(ROUNDINGS * eps, compared.noise)
