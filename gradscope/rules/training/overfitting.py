"""The loss on the validation batch rises while that on the training batches falls.

## What it does
Names the step at which the loss of `validation_batch` was lowest, where it has risen since and the training
loss has not.

## Why is this bad
From there on the network learns its training data by heart, and gets worse on what it has not seen.

## How it is measured
By `gradscope monitor`, where the file gives a `validation_batch`: its loss every so many steps
(`--validate-every`), with the params as they are then and the same random numbers.

## Limits
`rise = 0.1`: of what it had fallen by at its lowest (or the training loss, where it only rose), the share
that is lost again; it has to be clear of the scatter of the looks, four standard deviations. `looks = 3`: so
many looks after the lowest, all of them above it. Source: choices; Prechelt for the measure (generalization
loss).

## Example
    optimizer = optax.adam(1e-2)

Use instead early stopping, more data, or weight decay:

    optimizer = optax.adamw(1e-2, weight_decay=0.1)

## What it does not say
What another validation batch would say: one that is small scatters. Some networks recover later.

## Source
Prechelt 1998, *Early Stopping: But When?*.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

from gradscope.records import History, Severity
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.steps import BROKEN, OF_NORMAL, Level, broke_down, level, names
from gradscope.rules.words import number

CLEAR = 4.0
"""Standard deviations that the rise has to be clear of."""


@rule(
    "overfitting",
    severity=Severity.WARNING,
    symptom_of=BROKEN,
    needs=("history",),
    rise=0.1,
    looks=3.0,
)
def overfitting(history: History, limits: Limits) -> Iterator[Hit]:
    seen = [each for each in history.validation if math.isfinite(each.loss)]
    if len(seen) < 2 or broke_down(history):
        return
    best = min(seen, key=lambda each: each.loss)
    later = [each for each in seen if each.step > best.step]
    then, now = _training_loss(history, best.step), _training_loss(history, history.steps)
    learned = _training_loss(history, 1).median - now.median
    fall, rise = max(seen[0].loss - best.loss, learned if best is seen[0] else 0.0), seen[-1].loss - best.loss
    noise = _noise([each.loss for each in seen])
    if len(later) < limits["looks"] or not fall > 0 or rise <= max(limits["rise"] * fall, CLEAR * noise):
        return
    if min(each.loss for each in later[-int(limits["looks"]) :]) - best.loss <= noise:
        return
    if not then.median - now.median > math.hypot(_error(then), _error(now)):
        return
    yield Hit(
        message=f"The loss on the validation batch was lowest at step {best.step:,}, {number(best.loss)}, "
        f"and is {number(seen[-1].loss)} at the end, while the training loss fell from "
        f"{number(then.median)} to {number(now.median)}.",
        remedy=f"Keep the params of step {best.step:,} (early stopping), or give it more data, weight decay "
        "or dropout.",
        evidence={
            "step": best.step,
            "validation_loss": best.loss,
            "validation_loss_at_the_end": seen[-1].loss,
            "training_loss": then.median,
            "training_loss_at_the_end": now.median,
            "limit": limits["rise"],
        },
        layers=names(history),
        explains=None,
    )


def _training_loss(history: History, step: int) -> Level:
    """Over the tenth of the run before a step."""
    size = max(len(history.spans) // 10, 1)
    before = [
        loss for first, loss in zip(history.spans, history.mean_losses, strict=True) if first < max(step, 1)
    ]
    return level(before[-size:])


def _error(found: Level) -> float:
    """0 of a single loss: there is no more to know of it."""
    return found.error if math.isfinite(found.error) else 0.0


def _noise(looks: Sequence[float]) -> float:
    """Standard deviation of the looks, whatever their trend: by their second differences."""
    seconds = [abs(a - 2 * b + c) for a, b, c in zip(looks, looks[1:], looks[2:], strict=False)]
    return OF_NORMAL * statistics.median(seconds) / 6**0.5 if seconds else 0.0
