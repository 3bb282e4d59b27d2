"""The dot-product test: `<u, J v>` by forward mode against `<Jᵀ u, v>` by reverse mode.

No step, so nothing but rounding stands between the two. For a loss u is 1 and v a random direction through
all leaves. It finds a transposition that is wrong; where both modes share a wrong derivative they agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gradscope.errors import GradscopeError
from gradscope.records import Transposition, Verdict
from gradscope.trace import jaxprs
from gradscope.trace.jaxprs import Body
from gradscope.verification.gradient.direction_tests import ROUNDING, SAFETY
from gradscope.verification.gradient.point import CHAOTIC, PROBES, ROUNDING_STEP, Point
from gradscope.verification.gradient.surface import Surface

NEARBY_POINTS = 4
"""At which the derivative is taken again, where the two modes are apart: rounding grows on a chaotic path."""
EXACT = 1e-8
"""Of the size of the terms: in float64 the two modes differ by 1e-15 of it."""


def transposition(surface: Surface, point: Point) -> Transposition:
    """Along one random direction through all leaves, each moving by its own scale."""
    direction = point.directions(PROBES + 2, 1.0)
    try:
        forward = surface.forward(point.weights, direction)
    except GradscopeError as error:
        return Transposition(Verdict.CANNOT_JUDGE, _no_forward_mode(surface, error), *[float("nan")] * 3)
    if not np.isfinite(forward):
        return Transposition(Verdict.CANNOT_JUDGE, "a derivative is not finite", *[forward] * 3)
    terms = [values.ravel() * point.gradient(leaf) for leaf, values in direction.items()]
    roundings = [values.ravel() * point.gradient_rounding(leaf) for leaf, values in direction.items()]
    reverse = float(sum(term.sum() for term in terms))
    size = _norm(terms)
    uncertainty = _norm(roundings) + 4 * point.spacing * size
    if not np.isfinite([reverse, uncertainty]).all():
        return Transposition(
            Verdict.CANNOT_JUDGE, "a derivative is not finite", forward, reverse, uncertainty
        )
    apart = abs(forward - reverse)
    if apart <= max(SAFETY * uncertainty, EXACT * size):
        return Transposition(Verdict.RIGHT, "", forward, reverse, uncertainty)
    moves = max(abs(_reverse(point, surface, direction, seed) - reverse) for seed in range(NEARBY_POINTS))
    if apart > ROUNDING * moves:
        reason = "forward and reverse mode give different derivatives"
        return Transposition(Verdict.WRONG, reason, forward, reverse, max(uncertainty, moves))
    growth = moves / (ROUNDING_STEP * point.spacing * size)
    if growth < CHAOTIC:
        return Transposition(Verdict.RIGHT, "", forward, reverse, moves)
    return Transposition(Verdict.CANNOT_JUDGE, _chaotic(growth), forward, reverse, moves)


def _reverse(point: Point, surface: Surface, direction: dict[int, Any], number: int) -> float:
    """The derivative by reverse mode at a point a few units in the last place away."""
    moved = surface.moved(point.weights, point.directions(PROBES + 3 + number, ROUNDING_STEP * point.spacing))
    found = surface.gradient(moved)[1]
    return float(
        sum(np.vdot(np.asarray(found[leaf], np.float64), along) for leaf, along in direction.items())
    )


def _chaotic(growth: float) -> str:
    return (
        f"a change of the parameters of the size of rounding has grown {growth:.0e} times in the derivative: "
        "on such a path (chaotic, or unstable over many steps) rounding alone sets the two modes apart"
    )


def _norm(parts: list[Any]) -> float:
    return float(np.linalg.norm([np.linalg.norm(part) for part in parts]))


def _no_forward_mode(surface: Surface, error: GradscopeError) -> str:
    names = list(dict.fromkeys(_custom_vjps(surface.program.body)))
    if not names:
        return f"the loss cannot be differentiated in forward mode: {error.what}"
    listed = ", ".join(f"`{name}`" for name in names[:3])
    verb = "has" if len(names) == 1 else "have"
    return f"{listed} {verb} a custom_vjp, which JAX cannot differentiate in forward mode"


def _custom_vjps(body: Body) -> Iterator[str]:
    for eqn in body.eqns:
        rule = jaxprs.custom_rule(eqn)
        if rule is not None and rule.kind == "custom_vjp":
            yield rule.function
        for inner in jaxprs.inner_bodies(eqn):
            yield from _custom_vjps(inner)
