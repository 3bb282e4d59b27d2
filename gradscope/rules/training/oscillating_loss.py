"""The loss goes up and down from step to step on the same batch.

## What it does
Reports a training on one batch whose loss alternates: what one step wins the next one loses.

## Why is this bad
The steps jump from one wall of a valley to the other. A smaller step would go down into it.

## How it is measured
By `gradscope monitor`, where there is one batch, so that the data cannot be the cause: the correlation of
neighbouring changes of the loss in the last half of the run. Independent noise, as that of dropout, gives
-0.5; strict alternation gives -1.

## Limits
`correlation = 0.8`: its size, with a minus. `swing = 0.1`: the typical change has to be that share of the
mean loss, and larger than what the loss falls by over the whole half: a loss that alternates a little and
falls is healthy. Source: choices; Cohen et al. for the latter.

## Example
    optimizer = optax.sgd(1.0)

Use instead half of it, or less:

    optimizer = optax.sgd(0.3)

## What it does not say
Anything of a training over several batches, whose losses differ by themselves; or of slow swings, as momentum
makes them.

## Source
Cohen et al. 2021, *Gradient Descent on Neural Networks Typically Occurs at the Edge of Stability*.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterator, Sequence

from gradscope.records import History, Severity
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.steps import BROKEN, broke_down, names
from gradscope.rules.words import number

FEWEST = 8
"""Changes that make a correlation."""


@rule(
    "oscillating-loss",
    severity=Severity.WARNING,
    symptom_of=(
        *BROKEN,
        "learning-rate-too-high",
        "unnormalized-input",
    ),
    needs=("history",),
    correlation=0.8,
    swing=0.1,
)
def oscillating_loss(history: History, limits: Limits) -> Iterator[Hit]:
    losses = history.mean_losses[len(history.mean_losses) // 2 :]
    each_step = len(history.spans) == history.recorded_steps
    if not history.one_batch or not each_step or broke_down(history):
        return
    if not all(map(math.isfinite, losses)):
        return
    changes = [after - before for before, after in itertools.pairwise(losses)]
    if len(changes) < FEWEST:
        return
    swing, mean = statistics.median(map(abs, changes)), abs(statistics.fmean(losses))
    fall = statistics.fmean(losses[: len(losses) // 2]) - statistics.fmean(losses[len(losses) // 2 :])
    found = _correlation(changes)
    if found > -limits["correlation"] or swing < limits["swing"] * mean or swing < fall:
        return
    first = history.steps - len(losses)
    yield Hit(
        message=f"On one batch the loss goes up and down by {number(swing)} from step to step, around "
        f"{number(statistics.fmean(losses))}, from step {first:,} on (correlation of neighbouring changes "
        f"{found:.2f}).",
        remedy="Halve the learning rate until it goes down steadily. An optimizer that climbs on purpose at "
        "every "
        "other step, as SAM does, shows this, too.",
        evidence={
            "step": first,
            "swing": swing,
            "loss": statistics.fmean(losses),
            "correlation": found,
            "limit": -limits["correlation"],
        },
        layers=names(history),
        explains=None,
    )


def _correlation(changes: Sequence[float]) -> float:
    """Of each change and the next; 0 where nothing changes."""
    squares = sum(change * change for change in changes)
    products = sum(before * after for before, after in itertools.pairwise(changes))
    return products / squares * len(changes) / (len(changes) - 1) if squares else 0.0
