"""The loss jumps far above where it was, and comes back.

## What it does
Names the steps at which the loss leaves its course by a factor, and says whether the update grew before.

## Why is this bad
Each jump throws away what the steps before it had learned; in long runs one of them does not come back.

## How it is measured
By `gradscope monitor`: each loss is held against the median of those before it and their scatter (median
deviation). Where updates jumped, too, in the ten measured steps before, the layer in which they grew most is
named.

## Limits
`deviations = 10`: so many median deviations above the median of the twenty before, and `factor = 2` times
that median. Source: choices.

## Example
    optimizer = optax.adam(1e-2)

Use instead a limit on the gradient, at what is usual in this run:

    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-2))

## What it does not say
That the optimizer is the cause: one batch with a broken row makes a loss jump that no update made. Then the
updates before are as usual, and the message says so.

## Source
Chowdhery et al. 2022, *PaLM*, 5.1 (loss spikes); Wortsman et al. 2023, *Small-scale proxies for large-scale
Transformer training instabilities* (growth of updates before them).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

from gradscope.records import History, Severity
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.steps import BROKEN, at_step, broke_down, highest, names
from gradscope.rules.words import count, number

BEFORE, LEAD = 20, 10
JUMP = 3.0
"""An update grew: so many times its median before."""


@rule(
    "loss-spike",
    severity=Severity.WARNING,
    symptom_of=(
        *BROKEN,
        "oscillating-loss",
        "learning-rate-too-high",
    ),
    needs=("history",),
    deviations=10.0,
    factor=2.0,
)
def loss_spike(history: History, limits: Limits) -> Iterator[Hit]:
    losses = history.losses.high
    if broke_down(history):
        return
    found = [place for place in range(BEFORE, len(losses)) if _jumps(losses, place, limits)]
    spikes = [place for place in found if place - 1 not in found]
    if not spikes:
        return
    worst = max(spikes, key=lambda place: losses[place] / _usual(losses, place))
    usual = _usual(losses, worst)
    layer, growth = _grown(history, worst)
    norms = sorted(norm for norm in history.gradient_norms.high if math.isfinite(norm))
    clip = norms[int(0.9 * (len(norms) - 1))] if norms else math.nan
    cause = (
        f"In the {LEAD} measurements before, the update of `{layer}` grew to {number(growth)} times its "
        f"usual size."
        if layer
        else f"No layer's update grew to {JUMP:g} times its usual size in the {LEAD} measurements before."
    )
    yield Hit(
        message=f"The loss jumps at {count(len(spikes), 'place')}; the largest is at "
        f"{at_step(history, worst)}, "
        f"{number(losses[worst])} where {number(usual)} is usual. {cause}",
        remedy=f"Clip the gradient at what nine of ten steps keep: "
        f"`optax.clip_by_global_norm({number(clip)})`."
        if layer
        else f"Look at the batch of {at_step(history, worst)}.",
        evidence={
            "step": history.spans[worst],
            "spikes": len(spikes),
            "loss": losses[worst],
            "usual_loss": usual,
            "growth_of_update": growth,
            "limit": limits["factor"],
        },
        layer=layer,
        layers=(layer,) if layer else names(history),
    )


def _usual(losses: Sequence[float], place: int) -> float:
    return statistics.median(losses[place - BEFORE : place])


def _jumps(losses: Sequence[float], place: int, limits: Limits) -> bool:
    before = losses[place - BEFORE : place]
    if not all(map(math.isfinite, before)):
        return False
    usual = statistics.median(before)
    scatter = statistics.median(abs(loss - usual) for loss in before)
    return losses[place] > max(limits["factor"] * usual, usual + limits["deviations"] * scatter) and usual > 0


def _grown(history: History, place: int) -> tuple[str | None, float]:
    """The layer whose update grew most before a place, where one did."""
    best: tuple[str | None, float] = None, 1.0
    for layer in history.layers:
        values = highest(layer.update_rms)
        before, near = values[max(place - BEFORE - LEAD, 0) : place - LEAD], values[place - LEAD : place]
        usual = statistics.median(before) if before else 0.0
        growth = max(near, default=0.0) / usual if usual and math.isfinite(usual) else 1.0
        if growth > max(best[1], JUMP):
            best = layer.name, growth
    return best
