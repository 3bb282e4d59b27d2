"""The user's own optimizer now and in a saved run: how much of its improvement it has lost."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gradscope.records import Comparison

SAME_START = 1e-3
"""Relative difference of two losses before the first step that machines and versions may make."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What was lost since the saved run."""

    share: float
    """Of the improvement in the saved run: 0 where the change lies within the spread of the seeds of either
    run, negative where the optimizer gained, infinite where it diverges or had nothing to lose."""
    spread: float
    """[loss] The larger of the two spreads over the seeds."""
    text: str
    """One or two sentences that say so."""


def lost(now: Comparison, before: Comparison) -> Loss | None:
    """`None` where one of the runs has no optimizer of the user's."""
    new, old = now.own, before.own
    if new is None or old is None:
        return None
    spread = max(old.final_high - old.final_low, new.final_high - new.final_low)
    if not math.isfinite(old.final_loss):
        return Loss(0.0, spread, "Your optimizer diverged in the saved run: there was nothing to lose.")
    improvement = before.initial_loss - old.final_loss
    change = new.final_loss - old.final_loss
    text = (
        f"{_other_start(now, before)}The training loss of your optimizer ended at {old.final_loss:.4g} in "
        f"the saved run, now at {new.final_loss:.4g}"
    )
    if not math.isfinite(new.final_loss):
        return Loss(math.inf, spread, f"{text}: it diverges.")
    if abs(change) <= spread:
        return Loss(0.0, spread, f"{text}: within the spread of the seeds.")
    share = change / improvement if improvement > 0 else math.copysign(math.inf, change)
    return Loss(
        share, spread, f"{text}: {abs(share):.1%} of its improvement {'lost' if share > 0 else 'gained'}."
    )


def _other_start(now: Comparison, before: Comparison) -> str:
    """The same seeds start from the same loss: from another one the model, the data or the batch differs."""
    if math.isclose(now.initial_loss, before.initial_loss, rel_tol=SAME_START):
        return ""
    return (
        f"The loss starts at {now.initial_loss:.4g}, in the saved run at {before.initial_loss:.4g}: the "
        "model, the data, the batch size or the loss changed, so the two may not be comparable. "
    )
