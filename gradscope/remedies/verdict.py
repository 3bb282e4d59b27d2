"""What the trial of a remedy says: held against the same training without it, and against random search."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

from gradscope.records import Effect, Measurement, Severity, TriedRemedy
from gradscope.records.finding import Finding
from gradscope.records.remedies import CLEAR, SeedEnds

SOLVED = 0.01
"""Of the loss at the start: a seed that ends there has nothing to gain."""


def effect(before: SeedEnds, after: SeedEnds, changes_loss: bool, cured: bool) -> Effect:
    """`cured` tells whether an error of before is gone. A gain, and a loss, has to be there from every
    seed."""
    if changes_loss:
        falls = min(after.falls) >= CLEAR
        gains = [new - old for new, old in zip(after.falls, before.falls, strict=True)]
        if falls and (cured or min(gains) >= CLEAR):
            return Effect.CURES if cured else Effect.HELPS
        return Effect.WORSE if max(gains) <= -CLEAR else Effect.NO_GAIN
    gains = _gains(before, after)
    if min(gains) >= CLEAR:
        return Effect.HELPS
    return Effect.WORSE if max(gains) <= -CLEAR else Effect.NO_GAIN


def harmless(before: SeedEnds, after: SeedEnds) -> bool:
    """Whether the loss, the same one, falls from every seed and ends from none clearly higher."""
    return min(after.falls) >= CLEAR and min(_gains(before, after)) > -CLEAR


def is_free(before: SeedEnds, found: TriedRemedy) -> bool:
    """Whether what it may cure costs nothing of the same loss."""
    return found.training is not None and not found.changes_loss and harmless(before, found.training)


def _gains(before: SeedEnds, after: SeedEnds) -> list[float]:
    """By seed, how much lower the loss ends, as a share of what either began at, or of what the steps change
    without the remedy where that is more and ends below the beginning with it; where the loss is not finite
    without it, the share that falls with it. None where the loss ends above the one that there was before any
    step, or where the seed trains without the remedy."""
    found = []
    solved = SOLVED * abs(before.start)
    for place, (old, new) in enumerate(zip(before.ends, after.ends, strict=True)):
        start = before.starts[place]
        if not math.isfinite(new):
            found.append(-math.inf if math.isfinite(old) else 0.0)
        elif not math.isfinite(old):
            found.append(max(after.falls[place], 0.0))
        elif 0 <= old <= solved and new <= solved and not old > after.starts[place]:
            found.append(math.inf)
        else:
            size = abs(_usable(start, after.starts[place]))
            if math.isfinite(start) and not old > after.starts[place]:
                size = max(size, abs(start - old))
            gain = (old - new) / size if size else 0.0
            found.append(min(gain, 0.0) if new >= start else gain)
    return found if any(map(math.isfinite, found)) else [0.0 if gain > 0 else gain for gain in found]


def _usable(one: float, other: float) -> float:
    """The lower of two beginnings: from a start that is far too high any loss has fallen far."""
    known = [abs(each) for each in (one, other) if math.isfinite(each)]
    return min(known, default=0.0)


def beats(after: SeedEnds, chance: SeedEnds) -> bool:
    """From every seed."""
    return all(
        new < drawn or not math.isfinite(drawn) for new, drawn in zip(after.ends, chance.ends, strict=True)
    )


def gone(before: Sequence[Finding], after: Sequence[Finding]) -> tuple[tuple[str, ...], ...]:
    """Rules whose findings are gone, rules whose errors are new, and rules whose errors are still there."""
    grave = {found.rule for found in before if found.severity is not Severity.NOTE}
    there = {found.rule for found in after if found.severity is not Severity.NOTE}
    errors = {found.rule for found in after if found.severity is Severity.ERROR}
    known = {found.rule for found in before}
    return tuple(sorted(grave - there)), tuple(sorted(errors - known)), tuple(sorted(errors & known))


def delta_ratio(measured: Measurement | None) -> float | None:
    """δ at the first layer over δ at the last one; `None` where either was not measured, or the last is 0."""
    layers = [
        layer for layer in (measured.layers if measured is not None else ()) if layer.delta_rms is not None
    ]
    last = layers[-1].delta_rms if len(layers) > 1 else None
    return (layers[0].delta_rms or 0.0) / last if last else None


def ranked(tried: Sequence[TriedRemedy], before: SeedEnds) -> tuple[TriedRemedy, ...]:
    """Those that help first, of them those after which the fewest errors are left, then by how low the loss
    ends; of equal ones, to a hundredth of the loss before any step, the one that changes fewer lines."""
    order = [Effect.CURES, Effect.HELPS, Effect.NO_GAIN, Effect.WORSE, Effect.FAILED]

    def key(one: TriedRemedy) -> tuple[float, ...]:
        return (
            0 if one.helps else 1 + order.index(one.effect),
            len(one.caused),
            -len(one.cured) if one.helps else 0,
            -round(_fall(one, before), 2),
            sum(line.startswith(("+", "-")) for line in one.diff.split("\n")),
            one.training.end if one.training is not None else math.inf,
        )

    return tuple(sorted(tried, key=key))


def _fall(one: TriedRemedy, before: SeedEnds) -> float:
    """From the loss that there was without it, where the two can be compared."""
    if one.training is None:
        return -math.inf
    comparable = not one.changes_loss and before.start and math.isfinite(before.start)
    starts = before.starts if comparable else one.training.starts
    return statistics.median(SeedEnds(starts, one.training.ends).falls)


def unexamined(found: TriedRemedy) -> TriedRemedy:
    """Without the passes nothing shows that another loss is a better one."""
    return replace(found, effect=Effect.NO_GAIN) if found.changes_loss else found
