"""The loss rises under your optimizer, and falls at a smaller learning rate.

## What it does
Reports a training whose loss, the mean of up to 8 batches, is higher after 100 steps than before the first,
not finite, or stuck, where a tenth, a hundredth or a thousandth of each update makes it fall.

## Why is this bad
A step that is too long overshoots: the loss along it rises, the weights grow, and soon everything is
saturated or not finite.

## How it is measured
Tried: the short training is run again from the same start, over the same batches and random numbers, with
every update of your optimizer times 0.1, 0.01 and 0.001. Where 20 steps end above the start, all of them go
on to 100: a rate that suits may overshoot at first and come down. Besides, the loss of the first batch is
looked at along the first update, at 1, 1/4, 1/16, ... of it: how far it falls (the critical step).

## Limits
`rise = 0.1`: the loss has to rise by more than this share of its first value, and by more than half of what
a smaller rate lowers it by, and by two standard errors of the mean; or not to be finite. `fall = 0.02`: what
the smaller rate has to lower it by. `share = 0.5` and `gain = 0.02`: a loss that does not rise is stuck where
a smaller rate lowers it by more than that share of it, and the user's own by less than a fiftieth of that:
the first steps may have left every unit dead.
Source: choices; no sample has a finding by them.

Where a step of the program computes so much that fewer than 20 are taken, nothing is said.

## Example
    optimizer = optax.sgd(10.0)

Use instead the factor that was tried, or search for a rate:

    gradscope find-lr model.py

## What it does not say
Which rate is best, nor that a rate which suits for 100 steps suits later.

## Source
Smith 2015, *Cyclical Learning Rates* (range test); Lewkowycz et al. 2020, *The large learning rate phase of
deep learning: the catapult mechanism* (a loss that rises and comes down again); Kalra and Barkeshli 2024,
*Why Warmup the Learning Rate?*.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradscope.records import Intervention, Severity, ShortTraining
from gradscope.records.training import SMALLEST_PART
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import number

NOISE = 2.0
"""Standard errors of the mean loss."""
OF_SCALE = 1e-3
"""Parts of a rate below which a rate may not be all that is wrong."""
SYMPTOM_OF = (
    "ascending-update", "unnormalized-input", "unscaled-target", "non-finite", "exploding-gradient",
    "exploding-through-time", "mismatched-output", "wrong-mode", "weight-decay-too-high",
    "unexpected-initial-loss",
)  # fmt: skip


@rule(
    "learning-rate-too-high",
    severity=Severity.ERROR,
    symptom_of=SYMPTOM_OF,
    needs=("training",),
    rise=0.1,
    fall=0.02,
    share=0.5,
    gain=0.02,
)
def learning_rate_too_high(training: ShortTraining, limits: Limits) -> Iterator[Hit]:
    tried = [each for each in training.trials if each.change == "factor" and 0 < each.factor < 1]
    cures = [each for each in tried if math.isfinite(each.end) and each.fall > limits["fall"] * each.size]
    longer = training.trial("none", steps=cures[0].steps) if cures else None
    if not training.own or longer is None:
        return
    best = max(cures, key=lambda each: each.fall)
    rise = -longer.fall
    least = max(limits["rise"] * longer.size, best.fall / 2, NOISE * longer.error)
    stuck = best.fall > limits["share"] * longer.size and longer.fall < limits["gain"] * best.fall
    if math.isfinite(longer.end) and rise <= least and not (stuck and best.fall > NOISE * longer.error):
        return
    yield Hit(
        message=_message(longer, best) + _critical(training),
        remedy=_remedy(best.factor),
        evidence={
            "loss_before": training.start,
            "loss_after": longer.end,
            "steps": longer.steps,
            "factor": best.factor,
            "loss_after_at_factor": best.end,
            **({} if training.critical is None else {"critical": training.critical}),
            "limit": limits["rise"],
        },
        layers=training.layers,
        explains=None,
    )


def _remedy(factor: float) -> str:
    if factor < OF_SCALE:
        return (
            f"Multiply the learning rate by {factor:g}. So much may be a matter of scale: where inputs or "
            "targets are far from a standard deviation of 1, bring them there first, and search for a rate "
            "with `gradscope find-lr`."
        )
    return f"Multiply the learning rate by {factor:g}, or search for one with `gradscope find-lr`."


def _message(longer: Intervention, best: Intervention) -> str:
    end = number(longer.end) if math.isfinite(longer.end) else "a value that is not finite"
    return (
        f"In {longer.steps} steps your optimizer takes the loss from "
        f"{number(longer.start)} to {end}. With {best.factor:g} times each update it falls to "
        f"{number(best.end)}."
    )


def _critical(training: ShortTraining) -> str:
    """How far one may go along the first update."""
    part = training.critical
    if part is None or part == 1:
        return ""
    if part == 0:
        return f" Even {number(SMALLEST_PART)} of the first update raises the loss of its batch."
    return f" The first update raises the loss of its batch; {number(part)} of it does not."
