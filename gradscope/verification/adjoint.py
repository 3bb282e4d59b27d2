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
from gradscope.verification.gradient.point import PROBES, Point
from gradscope.verification.gradient.surface import Surface
from gradscope.verification.gradient.trials import SAFETY

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
    wobbles = [values.ravel() * point.wobble(leaf) for leaf, values in direction.items()]
    reverse = float(sum(term.sum() for term in terms))
    size = _norm(terms)
    doubt = _norm(wobbles) + 4 * point.spacing * size
    if not np.isfinite([reverse, doubt]).all():
        return Transposition(Verdict.CANNOT_JUDGE, "a derivative is not finite", forward, reverse, doubt)
    wrong = abs(forward - reverse) > max(SAFETY * doubt, EXACT * size)
    reason = "forward and reverse mode give different derivatives" if wrong else ""
    return Transposition(Verdict.WRONG if wrong else Verdict.RIGHT, reason, forward, reverse, doubt)


def _norm(parts: list[Any]) -> float:
    return float(np.linalg.norm([np.linalg.norm(part) for part in parts]))


def _no_forward_mode(surface: Surface, error: GradscopeError) -> str:
    names = list(dict.fromkeys(_custom_vjps(surface.program.body)))
    if not names:
        return f"the loss has no forward mode: {error.what}"
    listed = ", ".join(f"`{name}`" for name in names[:3])
    return f"{listed} has a custom_vjp, and JAX has no forward mode for that"


def _custom_vjps(body: Body) -> Iterator[str]:
    for eqn in body.eqns:
        if jaxprs.CUSTOM_RULES.get(eqn.primitive.name) == "custom_vjp":
            yield jaxprs.function_name(eqn)
        for inner in jaxprs.inner_bodies(eqn):
            yield from _custom_vjps(inner)
