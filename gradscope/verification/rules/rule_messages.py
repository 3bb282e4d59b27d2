"""The message about a custom rule: in what way it is wrong, or why it cannot be judged."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from gradscope.verification.rules.comparing import DerivativeComparison
from gradscope.verification.rules.derivatives import Vector

NEAR = 0.01
"""How close to a plain number a ratio must be to be called by it."""


def wrong(
    compared: DerivativeComparison, rule: Vector, shape: Sequence[int], sizes: Sequence[int], what: str
) -> str:
    """The way in which it is wrong; `what` is "the cotangent of `x`", or the tangents for it.

    `shape` is that of the vector, and `sizes` are those of the axes around, which a mean or a sum may have
    put in or left out.
    """
    if not np.any(rule[np.isfinite(rule)]):
        return f"{what} is zero, and the right one is not"
    if compared.ratio is not None and abs(compared.ratio - 1) > NEAR:
        return _times(what, compared.ratio, sizes)
    if _is_transposed(rule, compared, shape):
        return f"{what} is the transpose of the right one"
    count, size = int(compared.bad.sum()), len(compared.bad)
    where = f"{count} of {size} elements of {what} are off" if 10 * count < size else f"{what} is off"
    return f"{where}, by {_percent(compared.relative)} in the norm"


def _times(what: str, ratio: float, sizes: Sequence[int]) -> str:
    text = f"{what} is {ratio:.4g} times the right one"
    if abs(ratio + 1) < NEAR:
        return f"{text}: its sign is flipped"
    for size in sorted({size for size in sizes if size > _SMALL}):
        if abs(ratio / size - 1) < NEAR:
            return f"{text}: {size} is the length of an axis, over which it is summed once too often"
        if abs(ratio * size - 1) < NEAR:
            return f"{text}: {size} is the length of an axis, over which it takes a mean instead of a sum"
    factor = abs(ratio)
    sign = " and the sign is flipped" if ratio < 0 else ""
    if 0 < factor < 1 and (name := _plain(1 / factor)):
        return f"{text}: a factor of {name} is missing{sign}"
    if factor > 1 and (name := _plain(factor)):
        return f"{text}: there is a factor of {name} too much{sign}"
    return text


_SMALL = 4
"""A ratio of 2, 3 or 4 is a factor forgotten rather than an axis that happens to be so long."""


def _plain(number: float) -> str | None:
    near = Fraction(number).limit_denominator(4)
    return str(near) if near > 1 and abs(number / near - 1) < NEAR else None


def _is_transposed(rule: Vector, compared: DerivativeComparison, shape: Sequence[int]) -> bool:
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] < 2:
        return False
    turned = compared.truth.reshape(shape).T.ravel()
    size = np.linalg.norm(turned)
    return bool(size and np.linalg.norm(rule - turned) <= NEAR * size)


def _percent(share: float) -> str:
    if not np.isfinite(share):
        return "all of it"
    return f"{share:.0%}" if share >= NEAR else f"{share:.2g} of it"


ROUNDING_DOMINATES = "the derivative is smaller than the rounding error of the rule or of its function"
CONFIRMED = "finite differences confirm it, although the derivative of the function itself differs"
UNCERTAIN = "finite differences are too uncertain to decide whether the rule is right"
KINK = "the values lie on a kink of the function, where any slope between the one-sided ones is right"


def identity(argument: str, factor: float | None) -> str:
    gives = "another gradient" if factor is None else f"{factor:.3g} times the incoming gradient"
    name = ": a gradient reversal" if factor is not None and factor < 0 else ""
    return f"the function returns `{argument}` unchanged, and the rule gives {gives} on purpose{name}"


def its_own(argument: str) -> str:
    return (
        f"the cotangent of `{argument}` is made with an array that the function takes and does not read, as "
        "feedback alignment does: another gradient on purpose"
    )


def flat(argument: str) -> str:
    return (
        f"the result is constant or piecewise constant in `{argument}`, and the rule gives it a gradient: a "
        "surrogate (a straight-through estimator, for one), which nothing can confirm"
    )


def partly_flat(argument: str, count: int, size: int) -> str:
    return (
        f"where the result does not depend on `{argument}` ({count} of {size} elements) the rule gives it a "
        "gradient: a surrogate, which nothing can confirm; elsewhere the rule is right"
    )


def jumps(argument: str) -> str:
    return (
        f"the result depends on `{argument}` through a jump (a rounding, a cast or a comparison), so the "
        "derivative that the rule gives is a choice, which nothing can confirm"
    )


def iterative(relative: float | None) -> str:
    far = "" if relative is None else f" by {_percent(relative)}"
    return (
        f"the function iterates towards a solution, and the rule differs{far} from the derivative of these "
        "iterations; that of the solution itself may be meant (implicit differentiation)"
    )


def bends(count: int, small: bool) -> str:
    less = "; for small gradients it is right" if small else ""
    where = f"{count} element{'s' if count != 1 else ''}"
    return f"the rule is not linear in the incoming gradient ({where}): it clips or rescales it{less}"


def bounded(count: int) -> str:
    return (
        f"where the derivative of the function is over a thousand times its median ({count} elements), the "
        "rule keeps it smaller; elsewhere the rule is right"
    )


def stopped(argument: str) -> str:
    return (
        f"a `stop_gradient` inside the function changes its derivative by `{argument}`, and the rule agrees "
        "neither with that nor with finite differences"
    )
