"""A normalization takes away what is asked for: over the places of each example, or over a single element.

## What it does
Reports a normalization (less the mean, over the standard deviation) over the places of a sequence or an
image where the same model trains clearly better with the features of each place normalized; and one over a
single element: a BatchNorm over a batch of one example, a LayerNorm over one feature, an InstanceNorm of an
image of one pixel.

## Why is this bad
Each feature then has mean 0 and standard deviation 1 over the places of every example: its level and its
size, which may be all that tells examples apart, are gone. `axis=1` in the place of `axis=-1` does that,
and all shapes fit.

A single element is its own mean: the difference is exactly 0, what comes out is the bias whatever goes in,
and no gradient goes back.

## How it is measured
Read from the program: a value of the model less its mean along axes that are neither the first nor the
last, over a root of what is summed along the same axes. Then the program is trained with the last axis in
their place, from the same weights on the same batches, five times as many steps as the short training has.

Of a single element by the shapes alone: a value less a mean of it over one element, which is multiplied by
an inverse root or divided by one.

## Limits
Over places: told only where that is clearly better: it gains twice as much, or it ends at half of the loss
or less, by at least 5 % of what it gains. A loss that falls by 1 % of itself or less with it is not better,
nor one that falls by less than a tenth of what it falls by without, unless it ends at half that share of its
start or less.

Over a single element: none. An error where no layer before it has a gradient, else a warning: a way around
it is open, as past a residual block.

## Example
    h = (h - h.mean(axis=1, keepdims=True)) / (h.std(axis=1, keepdims=True) + 1e-5)   # rows, places, features

Use instead:

    h = (h - h.mean(axis=-1, keepdims=True)) / (h.std(axis=-1, keepdims=True) + 1e-5)

## What it does not say
Instance normalization is a choice, and nothing is told of one that does not train worse. Normalizations of
the data before any parameter, over the batch, and those whose factor holds a learned scale are not tried.
An error of another rule speaks for what was tried. Nothing is said of a single element inside of a loop, nor
of one in a batch that is not the first.

## Source
Ba et al. 2016, *Layer Normalization*, arXiv:1607.06450; Ulyanov et al. 2016, *Instance Normalization*,
arXiv:1607.08022, which is to take away the contrast of an image; Jahan et al. 2025 on faults in attention.
Humbatova et al. 2020, *Taxonomy of Real Faults in Deep Learning Systems*: a batch size that does not suit.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import LoneNormalization, Measurement, Severity, ShortTraining, Skipped
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.variants import compared
from gradscope.rules.words import names_of, shape_text


@rule("normalized-away", severity=Severity.ERROR, uses=("training",), fallback=True)
def normalized_away(
    measurement: Measurement, training: ShortTraining | None, limits: Limits
) -> Iterator[Hit | Skipped]:
    del limits
    for lone in measurement.structure.lone:
        yield _lone(measurement, lone)
    found, tried = measurement.structure.normalized, measurement.structure.over_features
    if found and training is None:
        yield Skipped("normalized-away", "no short training was run")
    if not found or training is None or tried is None or not tried.better:
        return
    first = found[0]
    more = "" if len(found) == 1 else f" The same holds for {len(found) - 1} more."
    yield Hit(
        message=f"A value of shape {shape_text(first.shape)} is normalized over {_axes(first.axes)}: each of "
        f"its {first.shape[-1]} features has mean 0 and standard deviation 1 over the places of every "
        f"example, whatever its level was.{more}{compared(tried, training, 'the last axis normalized')}",
        remedy="Normalize the features of each place: `axis=-1`.",
        evidence={
            "normalizations": len(found),
            "features": first.shape[-1],
            "loss_after": tried.end_without,
            "loss_after_features": tried.end,
        },
        source=first.source,
    )


def _lone(measurement: Measurement, found: LoneNormalization) -> Hit:
    before = [layer for layer in measurement.layers if layer.name in found.layers]
    still = [layer.name for layer in before if layer.gradient_max == 0]
    stuck = bool(still) and len(still) == len(before)
    without = f" No gradient goes back to {names_of(still)}." if still else ""
    return Hit(
        message=f"A value of shape {shape_text(found.shape)} is normalized over {_axes(found.axes)}, which "
        f"{'holds' if len(found.axes) == 1 else 'hold'} a single element: it is its own mean, the difference "
        f"is exactly 0, and what comes out is the same whatever goes in.{without}",
        remedy=_remedy(found),
        evidence={"elements": 1, "layers": len(before), "layers_without_gradient": len(still)},
        layer=before[-1].name if before else None,
        source=found.source,
        severity=Severity.ERROR if stuck else Severity.WARNING,
        layers=tuple(layer.name for layer in before),
        explains=None if stuck else tuple(still),
        proved=True,
    )


def _remedy(found: LoneNormalization) -> str:
    first = 0 in found.axes and len(found.shape) > 1
    if first and found.examples == 0:
        return (
            "Take batches of several examples, or normalize the features of each example in place of the "
            "batch (`LayerNorm`, `GroupNorm`)."
        )
    several = [f"{axis} ({size:,})" for axis, size in enumerate(found.shape) if size > 1]
    over = f", here axis {' or '.join(several)}" if several else ""
    if first:
        return (
            f"The first axis has one place, where the batch has {found.examples:,} examples: it counts "
            "something else, as the members of an ensemble or a stack of one. Normalize over an axis that "
            f"holds several elements{over}, or only where there are several members."
        )
    return (
        f"Normalize over an axis that holds several elements{over}, or leave this normalization out: a "
        "feature, a place or a group of one has nothing to be compared with."
    )


def _axes(axes: tuple[int, ...]) -> str:
    return f"axis {axes[0]}" if len(axes) == 1 else f"axes {', '.join(map(str, axes))}"
