"""The message about one leaf: its cause as a slug, and the reason as text."""

from __future__ import annotations

import numpy as np

from gradscope.records import Cut, RuleCheck, Source, Verdict
from gradscope.verification.gradient.direction_tests import SAFETY, Agreement, DirectionTest
from gradscope.verification.gradient.finite_difference import Limit
from gradscope.verification.gradient.leaf_judge import LeafJudgement
from gradscope.verification.gradient.point import CHAOTIC, Point

CauseAndReason = tuple[str, str]
IMPLICIT_SAMPLE = (
    "implicit-sample",
    "it reaches a sample that is drawn by rejection (`jax.random.gamma`, which beta, dirichlet, chi-squared "
    "and t use too): JAX differentiates its distribution by implicit reparameterization, and with one fixed "
    "key the sample jumps where another proposal is accepted, so that differences are no measure of it",
)
COARSE = 1e-4
"""Relative spacing of float16 and bfloat16 is above it: rounding then looks like jumps."""
_ROUNDING_STEPS = 100
"""Jumps of the loss up to so many times the spacing of the dtype are its rounding."""
_SHARP = 0.01
"""The message of a right gradient gives its relative uncertainty where that is larger than this."""


def cause_and_reason(found: LeafJudgement, leaf: int, point: Point, dtype: str) -> CauseAndReason:
    """The message that follows from the finite differences alone."""
    if found.verdict is Verdict.RIGHT:
        return _right(found)
    if found.verdict is Verdict.WRONG:
        return "", _wrong(found)
    unclear = _unclear(found, point, dtype)
    growth = point.amplification(leaf) if unclear[0] in ("unsettled", "kink") else 0.0
    return of_chaos(growth) if CHAOTIC < growth < np.inf else unclear


def of_stop_gradient(cut: Cut) -> CauseAndReason:
    """The message where a `stop_gradient` explains the gradient."""
    return (
        "stop-gradient",
        f"`stop_gradient`{at(cut.source)} blocks a part of it on purpose: without it the two agree",
    )


def of_custom_rule(rule: RuleCheck) -> CauseAndReason:
    """The message where a custom rule explains the gradient."""
    function = f"the custom derivative rule of `{rule.function}`{at(rule.source)}"
    if rule.verdict is Verdict.WRONG:
        return "custom-rule", f"{function} is wrong: without it the two agree"
    return "custom-rule", f"{function} differs from the derivative of its function: without it the two agree"


def of_required_rule(rule: RuleCheck) -> CauseAndReason:
    """The message where a rule cannot be taken out, because JAX cannot differentiate its function."""
    state = "is wrong" if rule.verdict is Verdict.WRONG else "cannot be judged"
    return (
        "custom-rule",
        f"the only known cause is the rule of `{rule.function}`{at(rule.source)}, which {state}",
    )


def of_hidden_jump(cut: Cut, dtype: str) -> CauseAndReason:
    """The message where the loss may be discontinuous on a scale that a coarse dtype does not resolve."""
    return (
        "jumps",
        f"`{cut.op}`{at(cut.source)} can make the loss discontinuous on a scale too fine for {dtype}",
    )


def of_chaos(growth: float) -> CauseAndReason:
    """The message where no step is small enough."""
    return (
        "chaotic",
        f"a change of the parameters of the size of rounding has grown {growth:.0e} times in its gradient: "
        "the loss is chaotic, or unstable over many steps, and differences at no step follow it",
    )


def of_stairs(cut: Cut | None, step: float, change: float) -> CauseAndReason:
    """The message where a zero on both sides is the flat part of a stair."""
    named = f" (`{cut.op}`{at(cut.source)})" if cut else ""
    return (
        "stairs",
        f"it reaches the loss only through operations whose derivative is zero{named}; a step of {step:.0e} "
        f"of its own size changes the loss by {change:.2g} all the same",
    )


def ratio(found: LeafJudgement) -> float | None:
    """The ratio of backpropagation to finite differences; `None` where it varies with the direction."""
    seen = [t for t in found.tests if SAFETY * t.uncertainty < 0.02 * abs(t.numeric.value)]
    ratios = np.array([t.backprop.value / t.numeric.value for t in seen])
    if len(ratios) < 2 or np.ptp(ratios) > 0.02 * max(1.0, float(np.abs(ratios).max())):
        return None
    return float(np.median(ratios))


def _right(found: LeafJudgement) -> CauseAndReason:
    off = [t.error / t.size for t in found.tests if t.size and t.error > SAFETY * t.uncertainty]
    if 2 * len(off) > len(found.tests):
        return (
            "inexact",
            f"its relative error is {max(off):.1g}: more than rounding explains, and too small to matter",
        )
    if found.nearby:
        return (
            "nearby-point",
            "checked at a point 1 % away, because the parameters sit on a kink or a flat place",
        )
    if found.aligned:
        return (
            "noise",
            "checked along the gradient itself: along other directions the noise of the loss is too large",
        )
    if all(t.backprop.value == 0 for t in found.tests):
        return "zero", "zero on both sides"
    if all(SAFETY * t.uncertainty > abs(t.backprop.size) for t in found.tests):
        return "zero", "zero on both sides, to within rounding"
    agreeing = [t for t in found.tests if t.agreement is Agreement.AGREES]
    sharpness = max(SAFETY * t.uncertainty / t.size for t in agreeing if t.size)
    return ("", f"confirmed to within {sharpness:.1%}") if sharpness > _SHARP else ("", "")


def _wrong(found: LeafJudgement) -> str:
    if all(t.backprop.value == 0 for t in found.tests):
        return "backpropagation gives zero, but the loss changes"
    times = ratio(found)
    if times is None:
        return "not proportional to the finite differences"
    return f"{times:.3g} times the finite differences, in every direction"


def _unclear(found: LeafJudgement, point: Point, dtype: str) -> CauseAndReason:
    if not point.deterministic:
        return (
            "nondeterministic",
            f"two evaluations at the same parameters differ by {point.spread:.2g}: the loss is random",
        )
    unsure = [t for t in found.tests if t.agreement is not Agreement.AGREES]
    if all(t.is_flat for t in unsure):
        return (
            "no-move",
            f"no step changes the loss: it is piecewise constant, or {dtype} rounds the step away",
        )
    jumps = [t.jump for t in unsure if t.jump or t.is_flat]
    if 2 * len(jumps) > len(unsure) and max(jumps) > _ROUNDING_STEPS * point.spacing * abs(point.loss):
        return (
            "jumps",
            f"the loss moves in jumps of {max(jumps):.2g} or more, and stays the same between them",
        )
    if not all(np.isfinite(t.uncertainty) for t in unsure):
        return "non-finite", "the loss is not finite at a small step from the parameters"
    apart = [t for t in unsure if t.normalized_error > 1]
    if 2 * len(apart) > len(unsure):
        most = max(t.error / t.size for t in apart)
        return (
            "unsettled",
            f"the two differ along {len(apart)} of {len(found.tests)} directions, by up to {most:.1%}, but "
            "not at every step, or not at a point 1 % away",
        )
    limits = [t.numeric.limit for t in unsure]
    if limits.count(Limit.ROUNDING) * 2 > len(limits) or point.spacing > COARSE or any(jumps):
        return (
            "noise",
            f"rounding in {dtype} changes the loss by {max(point.noise, *jumps, 0.0):.1g}: only an error "
            f"above {_detectable(unsure)} of the gradient is detectable",
        )
    return "kink", "the loss has kinks or jumps closer to the parameters than any usable step"


def _detectable(tests: list[DirectionTest]) -> str:
    sharpness = np.median([SAFETY * t.uncertainty / t.size if t.size else np.inf for t in tests])
    return f"{sharpness:.0%}" if sharpness < 10 else f"{sharpness:.2g} times"


def at(source: Source | None) -> str:
    return f" at {source}" if source else ""
