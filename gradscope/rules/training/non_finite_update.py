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
Where both were finite the message says so: then the optimizer's own arithmetic was not. A recording has no
layers to look into.

## Source
IEEE 754: no arithmetic undoes a NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradscope.records import Ending, History, Severity
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.steps import broke_down, broken_layers, names, not_taken
from gradscope.rules.words import number


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
    loss, gradient = history.last_loss, history.gradient_norms.high[-1]
    measured = history.last_measured == history.steps - 1
    if history.ending is Ending.NOT_FINITE:
        step = history.steps - 1
        message = f"S{not_taken(history)[1:]}.{_cause(history)}"
    else:
        step = history.nonfinite_since or 0
        message = f"The loss is not finite from step {step:,} on; the parameters are."
    yield Hit(
        message=message,
        remedy="Look at the epsilon and the rate of the optimizer."
        if measured and loss is not None and math.isfinite(loss) and math.isfinite(gradient)
        else "Keep what the loss computes in its range; clip the gradient if a batch is out of the ordinary.",
        evidence={
            "step": step,
            "loss": math.nan if loss is None else loss,
            "gradient_norm": gradient if measured else math.nan,
        },
        layer=broken[0] if len(broken) == 1 else None,
        layers=tuple(broken) or names(history),
        explains=None,
    )


def _cause(history: History) -> str:
    """Of the step that was not taken, as far as it was measured."""
    loss, step = history.last_loss, history.steps - 1
    if loss is None:
        return ""
    if not math.isfinite(loss):
        return " The loss of that step is not finite."
    if history.last_measured != step:
        return f" Its loss, {number(loss)}, is finite."
    gradient = history.gradient_norms.high[-1]
    if not math.isfinite(gradient):
        return f" Its loss, {number(loss)}, is finite; its gradient is not, or is beyond 1e19."
    return (
        f" Its loss, {number(loss)}, and its gradient, of norm {number(gradient)}, are finite: what the "
        "optimizer makes of them is not."
    )
