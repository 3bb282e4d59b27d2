"""A rule of the file makes another gradient than backpropagation on purpose, and the network trains with it.

## What it does
Tells of a `jax.custom_vjp` that sends back something else than the derivative, with an array that its
function takes and does not read, as feedback alignment does; and for each layer the angle between the
gradient that the file gets and the one that backpropagation gives.

## Why is this bad
It need not be. A gradient within 90 degrees of the true one still goes downhill; one beyond does not,
whatever the loss does in the meantime. The same training with backpropagation says what the rule costs.

## How it is measured
Each custom rule is checked by itself. One that differs is taken to be meant where its derivative changes with
an array that is an argument of the function and that the function does not read: only the rule does. The
gradient of each layer, on the first batch, is compared with that of the same program with these functions
differentiated as they are written, before the first step and after the last one of the short training. The
short training is run a second time with that one. A rule of this kind with which the loss does not fall is a
`wrong-gradient`.

## Limits
None: it is a note wherever there is such a rule. Source of the angle: Lillicrap et al. 2016, figure 1.

## Example
    @jax.custom_vjp
    def dense(x, w, feedback):
        return x @ w

    def backward(kept, g):
        x, feedback = kept
        return g @ feedback, x.T @ g, jnp.zeros_like(feedback)    # in the place of g @ w.T

Use instead, where backpropagation is wanted, no rule at all:

    def dense(x, w):
        return x @ w

## What it does not say
Whether the rule is right as the algorithm that it is meant to be. A rule that reads an array which it closes
over, or another function of the same weights (their signs), is not told from a mistake: it is a
`wrong-gradient`. Straight-through estimators and gradient reversals are no findings of `check`.

## Source
Lillicrap et al. 2016, *Random synaptic feedback weights support error backpropagation for deep learning*,
Nature Communications 7:13276; Nøkland 2016, *Direct Feedback Alignment*, arXiv:1609.01596.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import HandMadeGradient, LayerAngle, Measurement, Severity
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import count, names_of, number

MOST = 6
"""Layers whose angle the message has."""


@rule("hand-made-gradient", severity=Severity.NOTE, single_seed_suffices=True)
def hand_made_gradient(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    del limits
    found = measurement.hand_made
    if found is None or not found.end < found.start:
        return
    other = [each for each in found.angles if each.start is not None and each.start >= 0.5]
    if not other:
        return
    uphill = [each.layer for each in other if (each.start or 0.0) > 90]
    told = "; ".join(_angle(each) for each in other[:MOST])
    rest = f"; and {count(len(other) - MOST, 'more layer')}" if len(other) > MOST else ""
    yield Hit(
        message=(
            f"The rule of `{found.function}` sends back another gradient than the derivative, made with an "
            f"array of its own. Between what each layer gets and backpropagation are {told}{rest} (before "
            f"and after {count(found.steps, 'step')}). The steps take the loss from {number(found.start)} to "
            f"{number(found.end)}, and with backpropagation to {number(found.end_backpropagated)}"
            f"{_over(found)}."
        ),
        remedy=(
            f"Nothing to do if this is meant. At the start the gradient of {names_of(uphill)} goes uphill."
            if uphill
            else "Nothing to do if this is meant; without the rule JAX differentiates the function itself."
        ),
        evidence={
            "largest_angle": max(each.start or 0.0 for each in other),
            "loss_before": found.start,
            "loss_after": found.end,
            "loss_after_backpropagation": found.end_backpropagated,
        },
        layer=other[0].layer,
        source=found.source,
        layers=tuple(each.layer for each in other),
    )


def _angle(each: LayerAngle) -> str:
    later = "" if each.later is None else f" and {each.later:.0f}"
    return f"{each.start:.0f}{later} degrees at `{each.layer}`"


def _over(found: HandMadeGradient) -> str:
    return "" if found.batches == 1 else f" (mean of {found.batches} batches)"
