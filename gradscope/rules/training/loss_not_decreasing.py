"""The loss is where it was after all steps.

## What it does
Reports a training whose loss at the end is not below that of the beginning, as far as its scatter lets one
say.

## Why is this bad
Nothing was learned. The gradient may well flow: data, labels, rate and wiring of the optimizer are the usual
causes, and `gradscope check` tries several of them.

## How it is measured
By `gradscope monitor`: the median loss of the first and of the last fifth of the steps, and the standard
error of each, doubled because neighbouring losses go together. Nothing is said of fewer than `steps` steps,
or where the loss is less than twice its scatter, as that of a policy gradient is.

## Limits
`steps = 50`. A loss passes that fell by more than `fall = 0.05` of itself, or by more than two standard
errors and `least = 1e-6` of itself. Source: choices.

## Example
    params = optax.apply_updates(params, optax.tree.zeros_like(updates))

Use instead the updates themselves; with the true loop in the file, look for the cause:

    gradscope check model.py

## What it does not say
Why. A loss that is at its floor from the start, as in fine-tuning on what is known already, looks the same. A
loss whose terms change during the run may stand still while the model learns.

## Source
Karpathy 2019, *A Recipe for Training Neural Networks*.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator

from gradscope.records import History, Severity
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.steps import BROKEN, OF_MEDIAN, Level, broke_down, names, start_and_end, taken
from gradscope.rules.words import number

FIRST = 5
"""Losses that tell where the run began."""
SYMPTOM_OF = (
    *BROKEN, "oscillating-loss", "ascending-update", "not-updated", "invisible-update", "zero-gradient",
    "blocked-gradient", "disconnected-parameter", "vanishing-gradient", "exploding-gradient",
    "vanishing-through-time", "exploding-through-time", "broadcast-loss", "mismatched-output",
    "unexpected-initial-loss", "unnormalized-input", "unscaled-target", "lost-gradient",
)  # fmt: skip


@rule(
    "loss-not-decreasing",
    severity=Severity.WARNING,
    symptom_of=SYMPTOM_OF,
    needs=("history",),
    steps=50.0,
    fall=0.05,
    least=1e-6,
)
def loss_not_decreasing(history: History, limits: Limits) -> Iterator[Hit]:
    if history.recorded_steps < limits["steps"] or broke_down(history):
        return
    start, end = start_and_end(history)
    fall, sure = start.median - end.median, 2 * math.hypot(start.error, end.error)
    size = abs(start.median)
    if (
        not math.isfinite(sure)
        or size <= 2 * max(start.scatter, end.scatter)
        or abs(fall) > limits["fall"] * size
    ):
        return
    if fall > max(sure, limits["least"] * size) or _fell_at_once(history, end, limits["least"] * size):
        return
    yield Hit(
        message=f"{taken(history)} leave the loss at {number(end.median)}; it began at "
        f"{number(start.median)} (medians of the last and the first fifth, each ± "
        f"{number(max(start.error, end.error) / 2)}).",
        remedy="Run `gradscope check` on the file: it tries the usual causes. If it is silent, too, try to "
        "learn one batch by heart.",
        evidence={
            "loss_before": start.median,
            "loss_after": end.median,
            "standard_error": max(start.error, end.error) / 2,
            "steps": history.recorded_steps,
            "limit": limits["fall"],
        },
        layers=names(history),
        explains=None,
    )


def _fell_at_once(history: History, end: Level, least: float) -> bool:
    """The first steps alone were above: what is learned quickly is over before the first fifth is."""
    first = statistics.median(history.mean_losses[:FIRST])
    error = 2 * OF_MEDIAN * end.scatter / FIRST**0.5
    return first - end.median > max(2 * math.hypot(error, end.error), least)
