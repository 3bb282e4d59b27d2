"""The learning rate falls to next to nothing within the first steps, and what comes after moves nothing.

## What it does
Reports a schedule that comes to its end within 100 steps, where the same steps with the schedule held at its
highest rate lower the loss far more.

## Why is this bad
A schedule counts the optimizer's steps. One that was written for epochs, or was given the number of epochs
for its steps, is through before the training has begun: the loss falls a little and then stays where it is,
which looks like a network that cannot learn more.

## How it is measured
Where the last update of the short training is less than a fifth of the largest one, the optimizer is given
one and the same gradient for 100 steps: what its updates do then is the schedule's doing, not the gradient's.
Where they fall below a hundredth of the largest and stay there, the counters of the optimizer's state are set
back one by one; the one that makes the update large again belongs to the schedule. Tried: 100 steps from the
same start, over the same batches and random numbers, once as it is and once with that counter kept where the
updates are largest.

## Limits
`gain = 2`: with the schedule held the loss has to fall by so many times as much; `fall = 0.1`: and by more
than this share of it. A hundredth, a fifth and 100 steps are choices: for equal gradients the updates of
Adagrad, which shrink by themselves, are at a fifth after 25 steps and at a hundredth after 10,000. It is a
warning: a run may be meant to be that short.

## Example
    schedule = optax.exponential_decay(3e-3, transition_steps=1, decay_rate=0.5)

Use instead steps, not epochs:

    schedule = optax.exponential_decay(3e-3, transition_steps=steps_per_epoch, decay_rate=0.5)

## What it does not say
Nothing of a schedule that ends later, of one that your own loop applies, and of a warm-up that is too long:
how long the run is to be, the file does not say.

## Source
Jiang et al. 2025, *TrainCheck* (a scheduler that is stepped too often); Humbatova et al. 2020, *Taxonomy of
Real Faults in Deep Learning Systems* (suboptimal learning rate).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradscope.records import Severity, ShortTraining
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import number


@rule(
    "decayed-learning-rate",
    severity=Severity.WARNING,
    symptom_of=("ascending-update", "weight-decay-too-high", "non-finite"),
    needs=("training",),
    gain=2.0,
    fall=0.1,
)
def decayed_learning_rate(training: ShortTraining, limits: Limits) -> Iterator[Hit]:
    tried = training.decayed_rate
    if tried is None or not (training.own and math.isfinite(tried.end_held)):
        return
    own, held = tried.start - tried.end, tried.start - tried.end_held
    if not held > max(limits["gain"] * max(own, 0.0), limits["fall"] * abs(tried.start)):
        return
    yield Hit(
        message=(
            f"The learning rate ends early: from step {tried.ended} on an update is less than a hundredth of "
            f"that at step {tried.highest} for the same gradient. {tried.steps} steps of your optimizer take "
            f"the loss from {number(tried.start)} to {number(tried.end)}; with the schedule held at step "
            f"{tried.highest} they take it to {number(tried.end_held)}."
        ),
        remedy="Give the schedule the number of steps of the whole run: it counts updates, not epochs.",
        evidence={
            "highest": tried.highest,
            "ended": tried.ended,
            "steps": tried.steps,
            "loss_before": tried.start,
            "loss_after": tried.end,
            "loss_after_held": tried.end_held,
            "limit": limits["gain"],
        },
        layers=training.layers,
        explains=None,
    )
