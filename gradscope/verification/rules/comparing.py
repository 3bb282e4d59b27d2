"""A rule's derivative beside that of its function: how far apart, in what proportion, in which elements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradscope.verification.rules.derivatives import Vector

Mask = NDArray[np.bool_]

CLOSE = 0.01
"""Relative error (rms) up to which a rule is called right: approximate derivatives in use (a tanh-shaped GELU
for the erf one) stay below, and no optimizer tells them apart. A lost factor or term is far above."""
LOCAL = 0.05
"""The same for one element, beside 1 % of the rms: a bad row must not hide among a thousand good ones."""
EXACT = 1e-3
"""Up to here nobody needs to be told."""
ROUNDINGS = 8
"""Units of the last place that a few dozen operations cost in the norm."""


@dataclass(frozen=True)
class DerivativeComparison:
    relative: float
    """rms of the difference over rms of the right derivative."""
    noise: float
    """What rounding does to either, relative to the right one."""
    ratio: float | None
    """The rule's over the right one, where the two are proportional."""
    bad: Mask
    """Elements that differ by more than rounding explains."""
    broken: int
    """Elements where the rule is not finite and the right one is."""
    unknown: int
    """Elements where the function's own derivative is not finite."""
    truth: Vector
    """The right derivative as far as it is known."""

    @property
    def agrees(self) -> bool:
        return not self.broken and not self.bad.any()


def rms(values: Any) -> float:
    return float(np.sqrt(np.mean(np.abs(values) ** 2))) if np.size(values) else 0.0


def compare(
    rule: Vector, own: Vector, wide: Vector | None, eps: float, sensitivity: Vector | None = None
) -> DerivativeComparison:
    """`own` and `wide`: the derivative of the function itself, in its own precision and in float64.

    `unsteady` is what the rule's moves by when its operands do in their last place.
    An element is bad where the rule is far from both: at a tie the two may take different sides.
    """
    truth = own if wide is None else np.where(np.isfinite(wide), wide, own)
    known = np.isfinite(truth)
    usable = known & np.isfinite(rule)
    both = usable & np.isfinite(own)
    size = rms(truth[usable])
    rounding = np.zeros(len(truth))
    rounding[both] = np.abs(own[both] - truth[both])
    if sensitivity is not None:
        rounding = np.maximum(rounding, np.where(np.isfinite(sensitivity), sensitivity, 0.0))
    noisy = rms(rounding[usable])
    noise = noisy / size if size else (np.inf if noisy else 0.0)
    apart = np.zeros(len(truth))
    apart[usable] = np.abs(rule[usable] - truth[usable])
    relative = rms(apart[usable]) / size if size else (np.inf if apart.any() else 0.0)
    share = max(CLOSE, ROUNDINGS * eps)
    limit = max(LOCAL, 2 * ROUNDINGS * eps) * np.abs(truth) + share * size + 4 * rounding + 4 * noisy
    far_from_own = np.ones(len(truth), bool)
    with np.errstate(invalid="ignore"):
        far_from_own[both] = np.abs(rule[both] - own[both]) > limit[both]
        bad = usable & (apart > limit) & far_from_own
    if not bad.any() and relative > max(share, 4 * noise):
        bad = usable & (apart > relative * size / 2)
    return DerivativeComparison(
        relative=relative,
        noise=noise,
        ratio=proportion(rule[usable], truth[usable], share),
        bad=bad,
        broken=int(np.sum(known & ~np.isfinite(rule) & np.isfinite(own))),
        unknown=int(np.sum(~known)),
        truth=truth,
    )


def proportion(rule: Vector, truth: Vector, share: float) -> float | None:
    """The least-squares ratio, where nothing is left of the rule without its multiple of the truth."""
    square = float(np.sum(np.abs(truth) ** 2))
    if not square:
        return None
    ratio = float(np.real(np.sum(np.conj(truth) * rule))) / square
    left = rms(rule - ratio * truth)
    return ratio if left <= share * max(abs(ratio) * rms(truth), _TINY) else None


_TINY = 1e-300
