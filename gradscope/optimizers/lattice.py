"""Which learning rates and weight decays are tried: rates in half decades, then what lies around the best.

A compass search (Hooke and Jeeves 1961) over both on a log scale. Every optimizer gets the same number of
settings: one with a decay spends some of them on it, one without on the rate. No JAX.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from gradscope.optimizers.curves import rate_near

HALF_DECADE = math.sqrt(10.0)
FURTHER = 7
"""Settings beyond the grid, and at most two more than there are in it."""
DECAYS = 0.0, 0.1, 1.0
"""Tried beside the optimizer's default. A step shrinks the weights by rate times decay: a few hundred steps
at a rate of 1e-3 show no difference below a tenth."""
FINEST = 32
"""The last rates that are tried lie a thirty-second of a decade from the best."""


class TrialSetting(NamedTuple):
    """What is tuned; a pytree whose leaves may be traced."""

    rate: Any
    decay: Any = None
    """Weight decay; `None` where the optimizer has none, or none that is tuned."""


def settings_of(grid: int) -> int:
    """How many settings of each optimizer are tried where its grid begins with so many rates."""
    return grid + min(grid + 2, FURTHER) if grid > 1 else 1


def grid_around(usual: float, count: int) -> list[float]:
    """`count` rates, half a decade apart, with the usual one in the middle."""
    low = -(count // 2)
    return [plain(usual * HALF_DECADE**exponent) for exponent in range(low, low + count)]


def plain(number: float) -> float:
    """Two digits, so that the number in the report is the one that was used."""
    return float(f"{number:.2g}")


def lowest(losses: Mapping[TrialSetting, float]) -> TrialSetting:
    """The setting with the lowest loss; of equals the one with the lower rate, then the lower decay."""
    return min(sorted(losses, key=_order), key=lambda setting: losses[setting])


def _order(setting: TrialSetting) -> tuple[float, float]:
    return setting.rate, setting.decay or 0.0


def next_setting(
    tried: Collection[TrialSetting], losses: Mapping[TrialSetting, float], left: int
) -> TrialSetting | None:
    """The next one to try where so many are `left`; `None` where all lie too near to those that were `tried`.

    `losses`: of those that came to the end, infinite where they diverged. The last two are a decade from the
    best where no rate reaches so far: they tell how much a wrong one loses.
    """
    best = lowest(losses)
    if not math.isfinite(losses[best]):  # Where everything diverges a small step shows nothing.
        return TrialSetting(plain(min(setting.rate for setting in tried) / 10.0), best.decay)
    around = _decade_from(best, tried) if left <= 2 else _around(best, tried)
    return next((each for each in around if not _is_known(each, tried)), None)


def _decade_from(best: TrialSetting, tried: Collection[TrialSetting]) -> Iterator[TrialSetting]:
    rates = [setting.rate for setting in tried]
    high, low = plain(best.rate * 10.0), plain(best.rate / 10.0)
    if high > max(rates):
        yield TrialSetting(high, best.decay)
    if low < min(rates):
        yield TrialSetting(low, best.decay)
    yield from _around(best, tried)


def _around(best: TrialSetting, tried: Collection[TrialSetting]) -> Iterator[TrialSetting]:
    rate, decay = best
    yield from (TrialSetting(plain(each), decay) for each in (rate * HALF_DECADE, rate / HALF_DECADE))
    if decay is not None:
        yield from (TrialSetting(rate, each) for each in _decays_beside(decay, tried))
    part = 4
    while part <= FINEST:
        factor = 10.0 ** (1.0 / part)
        yield from (TrialSetting(plain(each), decay) for each in (rate * factor, rate / factor))
        part *= 2


def _decays_beside(decay: float, tried: Collection[TrialSetting]) -> Iterator[float]:
    """The next higher one, ten times the highest where there is none, and the next lower one."""
    known = sorted({*DECAYS, *(setting.decay for setting in tried)})
    place = known.index(decay)
    yield known[place + 1] if place + 1 < len(known) else plain(decay * 10.0)
    if place:
        yield known[place - 1]


def _is_known(setting: TrialSetting, tried: Collection[TrialSetting]) -> bool:
    same_decay = [each.rate for each in tried if each.decay == setting.decay]
    return rate_near(setting.rate, same_decay) is not None


def edges(best: TrialSetting, tried: Sequence[TrialSetting]) -> tuple[str, ...]:
    """`rate`, `decay`: what lies at the end of all that was tried of it, so that a better one may lie beyond;
    a decay of zero is no such end, as none is lower. `untried-decay`: all settings were spent on the rate."""
    rates = {setting.rate for setting in tried}
    found = ["rate"] if len(rates) > 1 and best.rate in (min(rates), max(rates)) else []
    decays = {setting.decay for setting in tried if setting.decay is not None}
    if best.decay is not None and len(tried) > 1:
        is_end = best.decay == max(decays) or (best.decay == min(decays) and best.decay > 0)
        found += ["untried-decay"] if len(decays) == 1 else ["decay"] if is_end else []
    return tuple(found)
