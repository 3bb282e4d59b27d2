"""A cast to a shorter type makes numbers of the batch equal that the network has to tell apart.

## What it does
Reports a cast of the batch, or of positions, before any parameter, after which numbers are equal that were
not, where what parameters then meet is far from what the same operations give in float64.

## Why is this bad
bfloat16 has 8 bits of precision: between 4096 and 8192 it knows multiples of 32 only, and above 256 not every
whole number. A standardized feature hardly suffers, but a count of hours has lost its hour before the sine is
taken, a difference of large numbers is noise, and an index looks up a neighbour. Nothing fails, and no
training brings back what is lost.

## How it is measured
From the program (its jaxpr): all values that come from the batch and from numbers that the program writes,
behind a cast to a shorter type, where parameters or what is made of them meet them. Each is computed as is
and in float64 without casts, over up to 8 batches; numbers that the program writes keep the rounding they
have. The error is the rms of the difference over the standard deviation, of the worst feature, where no
feature counts as narrower than a twentieth of all together; of integers it is the share that differs. The
cast that is named is the first on the way that makes numbers equal. The short training is then run five times
as long, as it is and with the exact values, rounded only where parameters meet them.

## Limits
- An error above 0.1 is looked at. Standardized inputs in bfloat16 had 0.002, sines of hours that were
  computed in float32 and then cast 0.001, and sines of hours that were cast first 1.35. Source: these
  measurements.
- `worse = 0.1`: an error; as it is the loss ends higher by more than this share of what the training with
  exact values has lowered it by. The hours above lost 0.91. Source: that measurement.

It is a warning where nothing was tried, and a note where the trial brings less.

## Example
    hours = hours.astype(jnp.bfloat16)
    x = jnp.sin(2 * jnp.pi * hours / 24)

Use instead:

    x = jnp.sin(2 * jnp.pi * hours / 24).astype(jnp.bfloat16)

## What it does not say
Numbers that arrive in a short type, that a random key makes, or that a loop or a function with a derivative
rule of its own computes, are not looked at, nor are arrays of more than four million elements.

## Source
Jiang et al. 2025, *Training with Confidence: Catching Silent Errors in Deep Learning Training with Automated
Proactive Checks* (OSDI); Goldberg 1991, *What Every Computer Scientist Should Know About Floating-Point
Arithmetic*.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradscope.records import RoundedTrial, Severity, ShortTraining
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import number

REMEDY = (
    "Leave these numbers in float32 (or integers) until what is made of them is small: cast after the sine, "
    "the difference or the look-up, where the first layer begins."
)


@rule("rounded-input", severity=Severity.ERROR, needs=("training",), worse=0.1)
def rounded_input(training: ShortTraining, limits: Limits) -> Iterator[Hit]:
    for found in training.rounded:
        of = f" of `{found.name}`" if found.name else ""
        tried = found.trial
        yield Hit(
            message=(
                f"A cast to {found.dtype} leaves {found.after:,} of {found.before:,} different numbers{of}. "
                f"What the network gets of them differs from the same in float64 by {number(found.error)} "
                f"times their spread.{_trial(tried)}"
            ),
            remedy=REMEDY,
            evidence={
                "before": found.before,
                "after": found.after,
                "error": found.error,
                "limit": limits["worse"],
                **_evidence(tried),
            },
            source=found.source,
            severity=_severity(tried, limits["worse"]),
        )


def _trial(tried: RoundedTrial | None) -> str:
    if tried is None:
        return ""
    return (
        f" {tried.steps} steps take the loss from {number(tried.start)} to {number(tried.end)}, and with the "
        f"exact values from {number(tried.start_exact)} to {number(tried.end_exact)}."
    )


def _evidence(tried: RoundedTrial | None) -> dict[str, float]:
    if tried is None:
        return {}
    return {"loss_before": tried.start, "loss_after": tried.end, "loss_after_exact": tried.end_exact}


def _severity(tried: RoundedTrial | None, limit: float) -> Severity:
    if tried is None:
        return Severity.WARNING
    gained = tried.start_exact - tried.end_exact
    if not (math.isfinite(gained) and gained > 0):
        return Severity.NOTE
    return Severity.NOTE if tried.end - tried.end_exact <= limit * gained else Severity.ERROR
