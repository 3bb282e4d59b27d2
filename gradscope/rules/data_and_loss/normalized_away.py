"""A normalization over the places of each example takes away what is asked for; one over features trains.

## What it does
Reports a normalization (less the mean, over the standard deviation) over the places of a sequence or an
image where the same model trains clearly better with the features of each place normalized.

## Why is this bad
Each feature then has mean 0 and standard deviation 1 over the places of every example: its level and its
size, which may be all that tells examples apart, are gone. `axis=1` in the place of `axis=-1` does that,
and all shapes fit.

## How it is measured
Read from the program: a value of the model less its mean along axes that are neither the first nor the
last, over a root of what is summed along the same axes. Then the program is trained with the last axis in
their place, from the same weights on the same batches, five times as many steps as the short training has.

## Limits
Told only where that is clearly better: it gains twice as much, or it ends at half of the loss or less, by at
least 5 % of what it gains. A loss that falls by 1 % of itself or less with it is not better, nor one that
falls by less than a tenth of what it falls by without, unless it ends at half that share of its start or
less.

## Example
    h = (h - h.mean(axis=1, keepdims=True)) / (h.std(axis=1, keepdims=True) + 1e-5)   # rows, places, features

Use instead:

    h = (h - h.mean(axis=-1, keepdims=True)) / (h.std(axis=-1, keepdims=True) + 1e-5)

## What it does not say
Instance normalization is a choice, and nothing is told of one that does not train worse. Normalizations of
the data before any parameter, over the batch, and those whose factor holds a learned scale are not tried.
An error of another rule speaks for this one.

## Source
Ba et al. 2016, *Layer Normalization*, arXiv:1607.06450; Ulyanov et al. 2016, *Instance Normalization*,
arXiv:1607.08022, which is to take away the contrast of an image; Jahan et al. 2025 on faults in attention.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Measurement, Severity, ShortTraining
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.variants import compared
from gradscope.rules.words import shape_text


@rule("normalized-away", severity=Severity.ERROR, needs=("flow", "training"), fallback=True)
def normalized_away(measurement: Measurement, training: ShortTraining, limits: Limits) -> Iterator[Hit]:
    del limits
    found, tried = measurement.structure.normalized, measurement.structure.over_features
    if not found or tried is None or not tried.better:
        return
    first = found[0]
    axes = f"axis {first.axes[0]}" if len(first.axes) == 1 else f"axes {', '.join(map(str, first.axes))}"
    more = "" if len(found) == 1 else f" The same holds for {len(found) - 1} more."
    yield Hit(
        message=f"A value of shape {shape_text(first.shape)} is normalized over {axes}: each of its "
        f"{first.shape[-1]} features has mean 0 and standard deviation 1 over the places of every example, "
        f"whatever its level was.{more}{compared(tried, training, 'the last axis normalized')}",
        remedy="Normalize the features of each place: `axis=-1`.",
        evidence={
            "normalizations": len(found),
            "features": first.shape[-1],
            "loss_after": tried.end_without,
            "loss_after_features": tried.end,
        },
        source=first.source,
    )
