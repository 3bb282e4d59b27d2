"""What rescaled weights were worth, which were tried where the signal shows a sign of a wrong scale."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gradscope.records import RescaledStart, ShortTraining
from gradscope.rules.words import names_of, number

GAINED = 0.5
"""Of what the steps gain from the rescaled weights, the share that they may gain from the user's own: below
it, the scale of the weights is what holds the training up."""


def helps(start: RescaledStart) -> bool:
    """Both are measured from the lower of the two losses at the start, so that a loss that is merely large at
    first, and falls, is no gain of the other start."""
    from_here = min(start.start_without, start.start)
    gain = from_here - start.end
    if not (math.isfinite(gain) and gain > 0):
        return False
    return not from_here - start.end_without > GAINED * gain


def tried(training: ShortTraining | None) -> tuple[bool, str]:
    """Whether another start was tried and brought nothing, and the sentence that says so."""
    start = None if training is None else training.rescaled
    if start is None or training is None or helps(start):
        return False, ""
    return True, (
        f" It may do no harm: {start.steps} steps of {training.optimizer} end at a loss of "
        f"{number(start.end_without)}, and from weights that were rescaled layer by layer at "
        f"{number(start.end)}."
    )


def same_holds(layers: Sequence[str]) -> str:
    return f"The same holds for {names_of(layers)}."
