"""A finding about one leaf in words: the cause as a slug, and the reason for people."""

from __future__ import annotations

import numpy as np

from gradscope.records import Cut, RuleCheck, Source, Verdict
from gradscope.verification.gradient.finite_difference import Limit
from gradscope.verification.gradient.judging import Finding
from gradscope.verification.gradient.point import Point
from gradscope.verification.gradient.trials import SAFETY, Outcome, Trial

Words = tuple[str, str]
COARSE = 1e-4
"""Relative spacing of float16 and bfloat16 is above it: rounding then looks like jumps."""
_SAID = 0.01
"""A right gradient that was seen less sharply than this is told how sharply."""


def words(found: Finding, point: Point, dtype: str) -> Words:
    """Cause and reason of what the differences alone say."""
    if found.verdict is Verdict.RIGHT:
        return _right(found)
    if found.verdict is Verdict.WRONG:
        return "", _wrong(found)
    return _unclear(found, point, dtype)


def stopped(cut: Cut) -> Words:
    """Of a gradient that is what it is because of a `stop_gradient`."""
    return (
        "stop-gradient",
        f"`stop_gradient`{at(cut.source)} keeps back a part of it, on purpose: without it the two agree",
    )


def ruled(rule: RuleCheck) -> Words:
    """Of a gradient that is what it is because of a custom rule."""
    function = f"the rule of `{rule.function}`{at(rule.source)}"
    if rule.verdict is Verdict.WRONG:
        return "custom-rule", f"{function} is wrong: without it the two agree"
    return "custom-rule", f"{function} gives another gradient than its function has: without it the two agree"


def needed(rule: RuleCheck) -> Words:
    """Of a gradient that is off where a rule cannot be taken out: its function has no derivative."""
    state = "is wrong" if rule.verdict is Verdict.WRONG else "cannot be judged"
    return "custom-rule", f"the rule of `{rule.function}`{at(rule.source)} {state}, alone of what is known"


def hidden(cut: Cut, dtype: str) -> Words:
    """Of a loss that may jump where the steps of a coarse dtype cannot pass between the jumps."""
    return "jumps", f"`{cut.op}`{at(cut.source)} can make the loss jump, too finely to be seen in {dtype}"


def ratio(found: Finding) -> float | None:
    """Backpropagation over differences, where it is the same in every direction; `None` where it is not."""
    seen = [t for t in found.trials if SAFETY * t.doubt < 0.02 * abs(t.found.value)]
    ratios = np.array([t.claim.analytic / t.found.value for t in seen])
    if len(ratios) < 2 or np.ptp(ratios) > 0.02 * max(1.0, float(np.abs(ratios).max())):
        return None
    return float(np.median(ratios))


def _right(found: Finding) -> Words:
    off = [t.gap / t.size for t in found.trials if t.size and t.gap > SAFETY * t.doubt]
    if 2 * len(off) > len(found.trials):
        return "inexact", f"off by {max(off):.1g} of it: more than rounding, and too little to matter"
    if found.beside:
        return "beside", "judged a little beside the parameters, which stand on a kink or a flat place"
    if found.aligned:
        return "noise", "judged along the gradient itself: other directions drown in the noise of the loss"
    if all(t.claim.analytic == 0 for t in found.trials):
        return "zero", "zero on both sides"
    if all(SAFETY * t.doubt > abs(t.claim.size) for t in found.trials):
        return "zero", "zero on both sides, to within rounding"
    agreeing = [t for t in found.trials if t.outcome is Outcome.AGREES]
    sharpness = max(SAFETY * t.doubt / t.size for t in agreeing if t.size)
    return ("", f"to within {sharpness:.1%}") if sharpness > _SAID else ("", "")


def _wrong(found: Finding) -> str:
    if all(t.claim.analytic == 0 for t in found.trials):
        return "zero, and the loss does change"
    times = ratio(found)
    if times is None:
        return "not proportional to the differences"
    return f"{times:.3g} times what differences say, in every direction"


def _unclear(found: Finding, point: Point, dtype: str) -> Words:
    if not point.deterministic:
        return (
            "nondeterministic",
            f"two evaluations at the same parameters differ by {point.spread:.2g}: the loss is random",
        )
    unsure = [t for t in found.trials if t.outcome is not Outcome.AGREES]
    if all(t.still for t in unsure):
        return (
            "no-move",
            f"no step moves the loss: it is piecewise constant, or loses the step in {dtype}",
        )
    if 2 * sum(t.grained or t.still for t in unsure) > len(unsure) and point.spacing < COARSE:
        return "jumps", "the loss moves in jumps along it, and is flat between them: there is no derivative"
    if not all(np.isfinite(t.doubt) for t in unsure):
        return "non-finite", "the loss is not finite a small step away"
    apart = [t for t in unsure if t.strain > 1]
    if 2 * len(apart) > len(unsure):
        most = max(t.gap / t.size for t in apart)
        return (
            "unsettled",
            f"along {len(apart)} of {len(found.trials)} directions the two differ, by up to {most:.1%}: not "
            "at every step, or not beside the parameters",
        )
    limits = [t.found.limit for t in unsure]
    if limits.count(Limit.ROUNDING) * 2 > len(limits) or point.spacing > COARSE:
        return (
            "noise",
            f"rounding in {dtype} moves the loss by {point.noise:.1g}: only an error above {_seen(unsure)} "
            "of the gradient would show",
        )
    return "kink", "kinks or jumps of the loss lie closer to the parameters than any usable step"


def _seen(trials: list[Trial]) -> str:
    sharpness = np.median([SAFETY * t.doubt / t.size if t.size else np.inf for t in trials])
    return f"{sharpness:.0%}" if sharpness < 10 else f"{sharpness:.2g} times"


def at(source: Source | None) -> str:
    return f" at {source}" if source else ""
