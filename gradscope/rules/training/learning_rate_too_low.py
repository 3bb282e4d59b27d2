"""The loss hardly falls under your optimizer, and much faster at a higher learning rate.

## What it does
Reports a training whose loss hardly moves in its first steps, where ten times each update or more lower it
many times as fast.

## Why is this bad
A run of days does what one of hours could. It looks like a network that does not learn, and its gradients
are healthy.

## How it is measured
Tried: the short training is run again from the same start, over the same batches and random numbers, with
every update of your optimizer times 10, 100 and so on up to a million, until one lowers the loss by a tenth
or raises it. Before that the optimizer goes on alone for up to 1,000
steps: where its updates still grow, the schedule is warming up, and nothing is said, unless that has no end:
then the counters of the optimizer's state are set to 100, 1,000 and so on up to 100 million, and the updates
for one and the same gradient compared.

## Limits
`fall = 0.02`: the share of the loss by which 20 steps have to lower it to pass. `gain = 5`: a higher rate has
to lower it by so many times as much, and by more than `fall`. It is a warning where in 100 steps the higher
rate lowers the loss by `share = 0.2` of it, and by `gain` times as much as yours; with a single batch, which
can be learned by heart, only where that takes 1,000 times the update. Else it is a note: fine-tuning is slow
on purpose. Losses are means of up to 8 batches. Source: choices; none of 161 healthy programs of our tests
was slow enough to have a higher rate tried.

A warm-up is told where the update at step 100,000 is less than half of that further on; published runs warm
up for 500 to 10,000 steps (Touvron et al. 2023, LLaMA: 2,000; Brown et al. 2020, GPT-3: 375 million tokens of
at most 3.2 million a step).

## Example
    optimizer = optax.sgd(1e-5)

Use instead the factor that was tried, or search for a rate:

    gradscope find-lr model.py

## What it does not say
That the higher rate stays good later on. A loss that is divided once too often, by the number of classes or
of tokens, looks the same under SGD.

## Source
Smith 2015, *Cyclical Learning Rates* (range test); Godbole et al. 2023, *Deep Learning Tuning Playbook*
(choosing the initial learning rate).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradscope.records import Intervention, Severity, ShortTraining, WarmUp
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import number

SHARE = 0.2
FAR = 1000.0
"""A factor from which on it is a warning with a single batch, which is learned by heart."""
LONGEST = 100_000
"""Steps of a warm-up."""
SYMPTOM_OF = (
    "invisible-update", "not-updated", "ascending-update", "unnormalized-input", "unscaled-target",
    "mismatched-output", "unexpected-initial-loss", "broadcast-loss", "collapsed-representations",
    "mis-scaled-initialization", "weight-decay-too-high", "decayed-learning-rate", "clipped-gradient",
    "vanishing-gradient", "vanishing-through-time",
    "zero-gradient", "blocked-gradient", "disconnected-parameter",
)  # fmt: skip


@rule(
    "learning-rate-too-low",
    severity=Severity.WARNING,
    symptom_of=SYMPTOM_OF,
    needs=("training",),
    fall=0.02,
    gain=5.0,
    share=SHARE,
)
def learning_rate_too_low(training: ShortTraining, limits: Limits) -> Iterator[Hit]:
    if training.own and training.warm_up is not None:
        yield from _endless(training, training.warm_up)
    own, best = training.trial("none", steps=training.steps), raised(training, limits)
    if own is None or best is None:
        return
    longer = parted(training, limits["share"], limits["gain"])
    if longer is not None:
        own, best = longer
    yield Hit(
        message=f"{best.steps} steps of your optimizer take the loss from "
        f"{number(own.start)} to {number(own.end)}; with {best.factor:g} times each update they "
        f"take it to {number(best.end)}.",
        remedy="Raise the learning rate, unless you fine-tune and mean to go slowly: `gradscope find-lr` "
        "searches for one.",
        evidence={
            "loss_before": own.start,
            "loss_after": own.end,
            "steps": best.steps,
            "factor": best.factor,
            "loss_after_at_factor": best.end,
            "limit": limits["gain"],
        },
        severity=Severity.NOTE if longer is None else Severity.WARNING,
        layers=training.layers,
        explains=None,
    )


def raised(training: ShortTraining, limits: Limits) -> Intervention | None:
    """The smallest factor on each update that lowers a loss which otherwise hardly falls."""
    own = training.trial("none", steps=training.steps)
    if not training.own or own is None:
        return None
    least = max(limits["fall"] * own.size, limits["gain"] * max(own.fall, 0.0))
    better = [
        each
        for each in _higher(training)
        if each.steps == training.steps and math.isfinite(each.end) and each.fall > least
    ]
    return min(better, key=lambda each: each.factor, default=None)


def parted(
    training: ShortTraining, share: float = SHARE, gain: float = 5.0
) -> tuple[Intervention, Intervention] | None:
    """Five times as many steps, as it is and at the best rate, where that gains a large part of the loss."""
    best = next((each for each in _higher(training) if each.steps > training.steps), None)
    own = None if best is None else training.trial("none", steps=best.steps)
    if best is None or own is None or not best.fall > share * best.size:
        return None
    if training.batches == 1 and best.factor < FAR:
        return None
    return (own, best) if best.fall > gain * own.fall else None


def _higher(training: ShortTraining) -> list[Intervention]:
    return [each for each in training.trials if each.change == "factor" and each.factor > 1]


def _endless(training: ShortTraining, warm_up: WarmUp) -> Iterator[Hit]:
    there, then = warm_up.sizes[warm_up.steps.index(LONGEST)], max(warm_up.sizes)
    if warm_up.highest <= LONGEST or not there < then / 2:
        return
    yield Hit(
        message=(
            f"The learning rate warms up for more than {LONGEST:,} steps: at step {LONGEST:,} the update for "
            f"one and the same gradient is {number(there / then)} of that at step {warm_up.highest:,}. "
            f"{training.steps} steps of your optimizer take the loss from {number(training.start)} to "
            f"{number(training.end)}."
        ),
        remedy="Give the warm-up in updates of the optimizer, not in examples or tokens.",
        evidence={"highest": warm_up.highest, "share": there / then, "limit": LONGEST},
        layers=training.layers,
        explains=None,
    )
