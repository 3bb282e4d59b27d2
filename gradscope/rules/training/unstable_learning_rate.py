"""The learning rate is above 2 / the largest eigenvalue of the Hessian.

## What it does
Compares the largest eigenvalue of the Hessian of the loss, at the parameters of the file and on its batch,
with the curvature that the optimizer stands: 2 / rate for gradient descent, 2 (1 + momentum) / rate with
momentum.

## Why is this bad
Along that direction each step overshoots by more than the one before, as long as the loss is as curved
there. That need not be the end: the loss is no parabola, steps that grow often come to where it is flatter,
and training with a whole batch mostly hovers at that edge. It is a warning where the first update was seen to
raise the loss, and else a note.

## How it is measured
The eigenvalue is found by Lanczos on products of the Hessian with vectors; what it finds is never more than
the largest one. The optimizer is asked: for a step with a small gradient, and for some without one; what it
does is summed up to the curvature at which its steps turn back as far as they went, and tried on parabolas a
little flatter and steeper than that. The first update is made in memory, and the loss measured after it.

## Limits
- `ratio` = 1: the largest eigenvalue over what the optimizer stands.

## Example
    optimizer = optax.sgd(1.0)      # at a largest eigenvalue of 45

Use instead:

    optimizer = optax.sgd(0.03)     # below 2 / 45, or a warm-up to the higher rate

## What it does not say
Anything of Adam and others whose steps are in no proportion to the gradient, of clipping, of weight decay,
and of later steps: the curvature changes as training goes on. Other batches have another largest eigenvalue.

## Source
Cohen et al. 2021, *Gradient Descent on Neural Networks Typically Occurs at the Edge of Stability*,
arXiv:2103.00065; Lewkowycz et al. 2020, *The large learning rate phase of deep learning*, arXiv:2003.02218.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Curvature, Severity
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import number


@rule("unstable-learning-rate", severity=Severity.WARNING, needs=("curvature",), ratio=1.0)
def unstable_learning_rate(curvature: Curvature, limits: Limits) -> Iterator[Hit]:
    own, largest, excess = curvature.own, curvature.largest, curvature.excess
    if own is None or own.rate is None or largest is None or excess is None or not excess > limits["ratio"]:
        return
    critical = curvature.critical
    rises = critical is not None and critical.above is not None and critical.above <= 1
    seen = ""
    if critical is not None:
        lowers = f"{'raises' if critical.change > 0 else 'lowers'} the loss"
        seen = (
            f" One update {lowers} by {number(abs(critical.change))}, from {number(curvature.loss)}, as "
            "measured."
        )
    momentum = f" and momentum {number(own.momentum)}" if own.momentum else ""
    yield Hit(
        message=(
            f"The largest eigenvalue of the Hessian is at least {number(largest.value)}, and steps at a "
            f"rate of {number(own.rate)}{momentum} shrink on parabolas up to a curvature of "
            f"{number(own.stable or 0.0)}: along that direction they overshoot.{seen}"
        ),
        remedy=(
            f"Start at a rate below {number(own.rate / excess)}, or warm up to the higher one. Where "
            "training at this rate goes well nothing has to be done: with a whole batch it mostly hovers "
            "at this edge."
        ),
        evidence={
            "largest_eigenvalue": largest.value,
            "stable_curvature": own.stable or 0.0,
            "rate": own.rate,
            "ratio": excess,
            "limit": limits["ratio"],
            **({} if critical is None else {"change_by_one_update": critical.change}),
        },
        severity=None if rises else Severity.NOTE,
    )
