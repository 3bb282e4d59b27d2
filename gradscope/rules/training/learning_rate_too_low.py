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
steps: where its updates still grow, the schedule is warming up, and nothing is said.

## Limits
`fall = 0.02`: the share of the loss by which 20 steps have to lower it to pass. `gain = 5`: a higher rate has
to lower it by so many times as much, and by more than `fall`. It is a warning where that takes 100 times the
update (1,000 times with a single batch, which can be learned by heart), and a note where less will do:
fine-tuning is slow on purpose. Losses are means of up to 8 batches. Source: choices.

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

from gradscope.records import Intervention, Severity, ShortTraining
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import number

FAR, FARTHER = 100.0, 1000.0
"""Factors from which on it is a warning: with several batches, and with one, which is learned by heart."""
SYMPTOM_OF = (
    "invisible-update", "not-updated", "ascending-update", "unnormalized-input", "unscaled-target",
    "mismatched-output", "unexpected-initial-loss", "broadcast-loss", "collapsed-representations",
    "mis-scaled-initialization", "weight-decay-too-high", "clipped-gradient",
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
)
def learning_rate_too_low(training: ShortTraining, limits: Limits) -> Iterator[Hit]:
    own, best = training.trial("none", steps=training.steps), raised(training, limits)
    if own is None or best is None:
        return
    yield Hit(
        message=f"{training.steps} steps of your optimizer take the loss from "
        f"{number(own.start)} to {number(own.end)}; with {best.factor:g} times each update they "
        f"take it to {number(best.end)}.",
        remedy="Raise the learning rate, unless you fine-tune and mean to go slowly: `gradscope find-lr` "
        "searches for one.",
        evidence={
            "loss_before": own.start,
            "loss_after": own.end,
            "steps": training.steps,
            "factor": best.factor,
            "loss_after_at_factor": best.end,
            "limit": limits["gain"],
        },
        severity=severity_of(best, training),
        layers=training.layers,
        explains=None,
    )


def raised(training: ShortTraining, limits: Limits) -> Intervention | None:
    """The smallest factor on each update that lowers a loss which otherwise hardly falls."""
    tried = [each for each in training.trials if each.change == "factor" and each.factor > 1]
    own = training.trial("none", steps=training.steps)
    if not training.own or own is None:
        return None
    least = max(limits["fall"] * own.size, limits["gain"] * max(own.fall, 0.0))
    better = [each for each in tried if math.isfinite(each.end) and each.fall > least]
    return min(better, key=lambda each: each.factor, default=None)


def severity_of(best: Intervention, training: ShortTraining) -> Severity:
    far = FAR if training.batches > 1 else FARTHER
    return Severity.WARNING if best.factor >= far else Severity.NOTE
