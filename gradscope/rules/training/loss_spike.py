"""The loss jumps far above where it was, and comes back.

## What it does
Names the steps at which the loss leaves its course by a factor, and says whether the update grew before.

## Why is this bad
Each jump throws away what the steps before it had learned; in long runs one of them does not come back.

## How it is measured
By `gradscope monitor`: each loss is held against those before it and their scatter (median deviation). Where
updates jumped, too, in the ten measured steps before, the layer in which they grew most is named; where no
updates were measured (`gradscope.Monitor`), gradients take their place.

## Limits
`factor = 3` times the highest of the fifty before (of two passes over the batches, where those are more), and
`deviations = 10` median deviations above it; it has to come back among them. More than three jumps in a run,
and more than one in a hundred steps, are how its losses are. Source: choices.

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

BEFORE, LEAD = 50, 10
FEW = 3
"""Jumps; where there are more, and more than one in a hundred, it is how these losses are."""
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
    factor=3.0,
)
def loss_spike(history: History, limits: Limits) -> Iterator[Hit]:
    losses = history.losses.high
    if broke_down(history):
        return
    found = [place for place in range(BEFORE, len(losses)) if _jumps(history, place, limits)]
    spikes = [place for place in found if place - 1 not in found]
    if not spikes or len(spikes) > max(FEW, len(losses) // 100):
        return
    worst = max(spikes, key=lambda place: losses[place] / _usual(losses, place))
    usual = _usual(losses, worst)
    what, layer, growth = _grown(history, worst)
    norms = sorted(norm for norm in history.gradient_norms.high if math.isfinite(norm))
    clip = norms[int(0.9 * (len(norms) - 1))] if norms else math.nan
    cause = (
        f"In the {LEAD} measurements before, the {what} of `{layer}` grew to {number(growth)} times its "
        f"usual size."
        if layer
        else f"No layer's {what} grew to {JUMP:g} times its usual size in the {LEAD} measurements before."
    )
    yield Hit(
        message=f"The loss jumps at {count(len(spikes), 'place')}; the largest is at "
        f"{at_step(history, worst)}, {number(losses[worst])} where {number(usual)} is usual. {cause}",
        remedy=f"Clip the gradient at what nine of ten steps keep: "
        f"`optax.clip_by_global_norm({number(clip)})`."
        if layer
        else f"Look at the batch of {at_step(history, worst)}.",
        evidence={
            "step": history.spans[worst],
            "spikes": len(spikes),
            "loss": losses[worst],
            "usual_loss": usual,
            f"growth_of_{what}": growth,
            "limit": limits["factor"],
        },
        layer=layer,
        layers=(layer,) if layer else names(history),
    )


def _usual(losses: Sequence[float], place: int) -> float:
    return statistics.median(losses[place - BEFORE : place])


def _jumps(history: History, place: int, limits: Limits) -> bool:
    """Above all that were before, and back among them soon after."""
    losses, window = history.losses.high, max(BEFORE, 2 * (history.batches_per_pass or 0))
    before, after = losses[max(place - window, 0) : place], losses[place + 1 : place + 1 + window]
    if not all(map(math.isfinite, before)):
        return False
    usual, top = statistics.median(before), max(before)
    scatter = statistics.median(abs(loss - usual) for loss in before)
    least = max(limits["factor"] * top, top + limits["deviations"] * scatter)
    return usual > 0 and losses[place] > least and min(after, default=math.inf) <= top


def _grown(history: History, place: int) -> tuple[str, str | None, float]:
    """`update`, or `gradient` where no update was measured; the layer in which it grew most before a place,
    where one did."""
    updates = any(layer.update_rms is not None for layer in history.layers)
    best: tuple[str | None, float] = None, 1.0
    for layer in history.layers:
        values = highest(layer.update_rms if updates else layer.gradient_rms)
        before, near = values[max(place - BEFORE - LEAD, 0) : place - LEAD], values[place - LEAD : place]
        usual = statistics.median(before) if before else 0.0
        growth = max(near, default=0.0) / usual if usual and math.isfinite(usual) else 1.0
        if growth > max(best[1], JUMP):
            best = layer.name, growth
    return "update" if updates else "gradient", *best
