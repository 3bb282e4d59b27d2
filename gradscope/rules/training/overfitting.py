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
`rise = 0.1`: of what it had fallen by at its lowest, the share that is lost again. `looks = 3`: so many looks
after the lowest, all of them above it. Source: choices; Prechelt for the measure (generalization loss).

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
from collections.abc import Iterator

from gradscope.records import History, Severity
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.steps import BROKEN, broke_down, level, names
from gradscope.rules.words import number


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
    fall, rise = seen[0].loss - best.loss, seen[-1].loss - best.loss
    if len(later) < limits["looks"] or not fall > 0 or rise <= limits["rise"] * fall:
        return
    then, now = _training_loss(history, best.step), _training_loss(history, history.steps)
    if not now < then:
        return
    yield Hit(
        message=f"The loss on the validation batch was lowest at step {best.step:,}, {number(best.loss)}, "
        f"and is "
        f"{number(seen[-1].loss)} at the end, while the training loss fell from {number(then)} to "
        f"{number(now)}.",
        remedy=f"Keep the params of step {best.step:,} (early stopping), or give it more data, weight decay "
        f"or "
        "dropout.",
        evidence={
            "step": best.step,
            "validation_loss": best.loss,
            "validation_loss_at_the_end": seen[-1].loss,
            "training_loss": then,
            "training_loss_at_the_end": now,
            "limit": limits["rise"],
        },
        layers=names(history),
        explains=None,
    )


def _training_loss(history: History, step: int) -> float:
    """Mean over the tenth of the run before a step."""
    size = max(len(history.spans) // 10, 1)
    before = [
        loss for first, loss in zip(history.spans, history.mean_losses, strict=True) if first < max(step, 1)
    ]
    return level(before[-size:]).median
