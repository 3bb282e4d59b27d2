"""The loss fell, and then stays where it is.

## What it does
Says from which step on the loss no longer falls, where it fell before and has not come near 0.

## Why is this bad
It may be the end of what can be learned, or a rate that is too high to go further; the steps since then
brought nothing.

## How it is measured
By `gradscope monitor`: the run is cut into twenty parts. The plateau begins with the first part after which
no part has a median loss that is lower by more than its standard error, and by more than `gain` of the whole
fall or `share_of_loss` of the loss there.

## Limits
`share = 0.5`: the plateau has to last for at least this share of the run. `gain = 0.01` of the whole fall,
`share_of_loss = 0.1` of the loss: what a part may still win. `floor = 0.001`: a loss below this share of the
first one is learned, and not stuck. Source: choices.

## Example
    optimizer = optax.adam(1e-2)

Use instead a rate that falls:

    optimizer = optax.adam(optax.cosine_decay_schedule(1e-2, 1000))

## What it does not say
Which of both it is: try a rate that is lower from that step on. A loss has a floor of its own where targets
are noisy or classes overlap.

## Source
Prechelt 1998, *Early Stopping: But When?*.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from gradscope.records import History, Severity
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.steps import BROKEN, Level, at_step, broke_down, level, names
from gradscope.rules.words import number

PARTS, FEWEST = 20, 5
"""Parts of the run, and losses in each."""


@rule(
    "plateau",
    severity=Severity.NOTE,
    symptom_of=(
        *BROKEN,
        "oscillating-loss",
        "loss-not-decreasing",
        "lost-gradient",
        "overfitting",
    ),
    needs=("history",),
    share=0.5,
    gain=0.01,
    share_of_loss=0.1,
    floor=0.001,
)
def plateau(history: History, limits: Limits) -> Iterator[Hit]:
    losses = history.mean_losses
    if len(losses) < FEWEST * PARTS or broke_down(history) or not all(map(math.isfinite, losses)):
        return
    bounds = [part * len(losses) // PARTS for part in range(PARTS + 1)]
    parts = [level(losses[first:after]) for first, after in itertools.pairwise(bounds)]
    first, fall = parts[0].median, parts[0].median - min(part.median for part in parts)
    if fall <= 2 * parts[0].error or abs(parts[-1].median) < limits["floor"] * abs(first):
        return
    begins = next(part for part in range(PARTS) if not _wins(parts, part, limits, fall))
    if PARTS - begins < limits["share"] * PARTS or begins == 0:
        return
    since = level(losses[bounds[begins] :])
    if abs(since.median - parts[begins].median) > max(limits["gain"] * fall, since.error):
        return
    yield Hit(
        message=f"The loss falls from {number(first)} to {number(parts[begins].median)} until "
        f"{at_step(history, bounds[begins])}, and no further: since then it stays around "
        f"{number(since.median)}.",
        remedy="Try a rate that falls (`optax.cosine_decay_schedule`); if the loss stays, this is its floor "
        "on these data with this model.",
        evidence={
            "step": history.spans[bounds[begins]],
            "loss_before": first,
            "loss_after": since.median,
            "limit": limits["gain"],
        },
        layers=names(history),
        explains=(),
    )


def _wins(parts: list[Level], place: int, limits: Limits, fall: float) -> bool:
    """Whether a later part is clearly below this one."""
    own = parts[place]
    least = min(limits["gain"] * fall, limits["share_of_loss"] * abs(own.median))
    return any(
        own.median - later.median > max(least, math.hypot(own.error, later.error))
        for later in parts[place + 1 :]
    )
