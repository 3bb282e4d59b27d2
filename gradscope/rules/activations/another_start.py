"""What rescaled weights were worth, which were tried where the signal shows a sign of a wrong scale."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gradscope.records import RescaledStart, Severity, ShortTraining, UnitActivity
from gradscope.rules.words import names_of, number

GAINED = 0.5
"""Of what the steps gain from the rescaled weights, the share that they may gain from the user's own: below
it, the scale of the weights is what holds the training up."""
LEFT, LOWER = 0.1, 2.0
"""Share of the loss at the start, and times the loss from the other start, of the loss after the steps: above
both of them a sign that was seen may do harm, though the steps do most of their work."""


def helps(start: RescaledStart) -> bool:
    """Both are measured from the lower of the two losses at the start, so that a loss that is merely large at
    first, and falls, is no gain of the other start."""
    from_here = min(start.start_without, start.start)
    gain = from_here - start.end
    if not (math.isfinite(gain) and gain > 0):
        return False
    return not from_here - start.end_without > GAINED * gain


def _ends_lower(start: RescaledStart) -> bool:
    """Most of the loss is gone as it is, and clearly less of it is left from the other start."""
    left = start.end_without / min(start.start_without, start.start)
    return start.end > 0 and left > LEFT and start.end_without > LOWER * start.end


def tried(training: ShortTraining | None) -> tuple[Severity | None, str]:
    """How grave it is where another start was tried, `None` where it was not or explains it; and the sentence
    that says what it brought."""
    start = None if training is None else training.rescaled
    if start is None or training is None or helps(start):
        return None, ""
    lower = _ends_lower(start)
    return Severity.WARNING if lower else Severity.NOTE, (
        f" {'' if lower else 'It may do no harm: '}{start.steps} steps of {training.optimizer} end at a loss "
        f"of {number(start.end_without)}, and from weights that were rescaled layer by layer at "
        f"{number(start.end)}."
    )


@dataclass(frozen=True, slots=True)
class Worst:
    """The layer that speaks for all that are concerned."""

    units: UnitActivity
    layers: tuple[str, ...]
    died: bool
    """They were not at the start, and are after the steps."""

    @property
    def others(self) -> str:
        """The sentence on the others; empty where there is none."""
        rest = [name for name in self.layers if name != self.units.layer]
        return f" The same holds for {names_of(rest)}." if rest else ""


def worst(
    seen: Sequence[UnitActivity], share: Callable[[UnitActivity, bool], float], limit: float
) -> Worst | None:
    """Of the layers whose share reaches the limit at the start, or else of those where it does later; `share`
    is told which of the two is asked."""
    for died in (False, True):
        found = [units for units in seen if share(units, died) >= limit]
        if found:
            top = max(found, key=lambda units: share(units, died))
            return Worst(top, tuple(units.layer for units in found), died)
    return None
