"""Weight decay pulls the weights to zero faster than the gradient can move them: the loss stays up.

## What it does
Reports an optimizer whose weight decay keeps the loss from falling, where the same steps without the decay
lower it much more.

## Why is this bad
A step takes a share of each weight. Where that is more than the gradient puts there, the weights go to zero
whatever the data say, and the output becomes a constant. It looks like a network that is too small or a
learning rate that is too low.

## How it is measured
The optimizer makes a first step for the problem's own weights and gradients, once as it is and once with
weights of 0, which nothing decays. Where the difference is large, the short training is run again, five times
as long, with weights of 0 shown to the optimizer: same start, same batches, same random numbers. It is tried
only where the optimizer's answers to made weights and gradients show that weights enter the updates by their
decay alone: not for LAMB, Adafactor or an optimizer that keeps copies of the weights.

## Limits
`gain = 2`: without decay the loss falls by more than so many times as much; `fall = 0.1`: and by more than
this share of it. What decay costs, the difference of the two, is also at least as much as what is still
better than with weights of 0, where decay leads to: weights that were trained with it stand where gradient
and decay are equal, and the loss falls without it there, too. It is tried where the decay's part of the first
update is half as large as the rest of it, or more. Sources: choices. With `optax.adamw(1e-3)` and weights of
usual size that part is 3e-5, with a decay of 0.1 it is 0.03, and with 100 it was 36 in a network of three
layers.

## Example
    optimizer = optax.adamw(1e-3, weight_decay=100.0)

Use instead:

    optimizer = optax.adamw(1e-3, weight_decay=0.01)

## What it does not say
Decay raises the loss on the training data a little on purpose. What it is worth on other data was not
measured. A penalty that is a term of the loss is not a part of the optimizer and not looked at here.

## Source
Loshchilov and Hutter 2019, *Decoupled Weight Decay Regularization*, arXiv:1711.05101; Humbatova et al. 2020,
*Taxonomy of Real Faults in Deep Learning Systems* (suboptimal regularisation).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradscope.records import Severity, ShortTraining, UndecayedTraining
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import number

REMEDY = (
    "Divide `weight_decay` by 100 and check again: 0.01 to 0.1 are usual for AdamW, 1e-4 to 5e-4 for SGD "
    "with momentum."
)


@rule(
    "weight-decay-too-high",
    severity=Severity.ERROR,
    symptom_of=("ascending-update", "not-updated", "non-finite"),
    needs=("training",),
    gain=2.0,
    fall=0.1,
)
def weight_decay_too_high(training: ShortTraining, limits: Limits) -> Iterator[Hit]:
    tried = training.undecayed
    if tried is None or not math.isfinite(tried.end_without):
        return
    with_it, without = tried.start - tried.end_with, tried.start - tried.end_without
    held = without > limits["gain"] * max(with_it, 0.0) or not math.isfinite(with_it)
    if not held or without <= limits["fall"] * abs(tried.start) or _worth_it(tried):
        return
    taken = "" if not tried.decay else f", and takes {number(tried.decay)} of each weight"
    zero = "" if tried.at_zero is None else f" With weights of 0 the loss is {number(tried.at_zero)}."
    yield Hit(
        message=(
            f"Weight decay holds the loss up: {tried.steps} steps of your optimizer take it from "
            f"{number(tried.start)} to {number(tried.end_with)}, and to {number(tried.end_without)} without "
            f"the decay. Its part of the first update is {number(tried.share)} times the rest{taken}.{zero}"
        ),
        remedy=REMEDY,
        evidence={
            "loss_before": tried.start,
            "loss_after": tried.end_with,
            "loss_after_without_decay": tried.end_without,
            "share": tried.share,
            "limit": limits["gain"],
        },
        layers=training.layers,
        explains=None,
    )


def _worth_it(tried: UndecayedTraining) -> bool:
    """The decay costs less than the network has learned beside it."""
    return tried.at_zero is not None and tried.at_zero - tried.end_with > tried.end_with - tried.end_without
