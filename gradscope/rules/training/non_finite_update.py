"""A step of the training would make parameters NaN or infinite, out of the blue.

## What it does
Names the step at which the optimizer would have made a parameter NaN or infinite, and its layers, where the
loss had not grown before; or from which on the loss is not finite.

## Why is this bad
From that step on every loss is NaN, and nothing that is learned afterwards counts.

## How it is measured
By `gradscope monitor`, on every element of every parameter after each step; the step that would break them is
not taken, and the layers are measured there. That is exact. A training of which the loss is not finite at
twenty steps in a row is stopped, too.

## Limits
None. What grew by ten times before it broke down is `diverging-loss`.

## Example
    optimizer = optax.adam(1e-3, eps=0.0)

Use instead the usual epsilon: an element without a gradient is divided by 0 otherwise:

    optimizer = optax.adam(1e-3)

## What it does not say
Where a loss or a gradient became NaN: `non-finite` says where that was born, and this is told as its symptom.
Alone it means that both were finite, and that the optimizer's own arithmetic was not.

## Source
IEEE 754: no arithmetic undoes a NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradscope.records import Ending, History, Severity
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.steps import broke_down, broken_layers, names
from gradscope.rules.words import names_of, number


@rule(
    "non-finite-update",
    severity=Severity.ERROR,
    symptom_of=("non-finite", "diverging-loss"),
    needs=("history",),
    single_seed_suffices=True,
)
def non_finite_update(history: History, limits: Limits) -> Iterator[Hit]:
    del limits
    if not broke_down(history):
        return
    broken = broken_layers(history)
    loss, gradient = history.losses.high[-1:], history.gradient_norms.high[-1:]
    if history.ending is Ending.NOT_FINITE:
        step = history.steps - 1
        where = f" in {names_of(broken)}" if broken else ""
        message = f"Step {step:,} would make parameters{where} NaN, infinite or larger than 1e19, and was "
        message += "not taken." + _cause(loss[0] if loss else math.nan, gradient[0] if gradient else math.nan)
    else:
        step = history.nonfinite_loss_at or 0
        message = f"The loss is not finite from step {step:,} on; the parameters are."
    yield Hit(
        message=message,
        remedy="Look at the epsilon and the rate of the optimizer."
        if all(map(math.isfinite, (*loss, *gradient)))
        else "Keep what the loss computes in its range; clip the gradient if a batch is out of the ordinary.",
        evidence={
            "step": step,
            "loss": loss[0] if loss else math.nan,
            "gradient_norm": max(gradient, default=0.0),
        },
        layer=broken[0] if len(broken) == 1 else None,
        layers=tuple(broken) or names(history),
        explains=None,
    )


def _cause(loss: float, gradient: float) -> str:
    if not math.isfinite(loss):
        return " The loss of that step is not finite."
    if not math.isfinite(gradient):
        return f" Its loss, {number(loss)}, is finite; its gradient is not, or is beyond 1e19."
    return (
        f" Its loss, {number(loss)}, and its gradient, of norm {number(gradient)}, are finite: what the "
        "optimizer makes of them is not."
    )
