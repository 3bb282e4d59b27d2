"""An input is far from mean 0 and standard deviation 1, and the loss falls further where it is standardized.

## What it does
Looks for float arrays of the batch with large numbers, a mean far from 0, or features of very different size,
and trains the same steps once more with each of them standardized. Where the loss then ends far lower, it
says so, with both losses. So it does of columns in which one number may stand for missing ones, as -9999 or
65535: there it says which, how often it comes, and where the others lie.

## Why is this bad
The gradient of a weight is δ times its input. Inputs of 0 to 255 make the first layer's gradients hundreds of
times those of the others, saturate what comes behind, and one learning rate fits neither; a feature that is a
thousand times another hides it. A number that stands for missing ones is all that mean and standard deviation
of its column see: standardized with it inside, the others end up next to each other, and are lost.

## How it is measured
Tried: 100 steps of the short training from the same start, over the same batches and random numbers, with the
array less its mean over its standard deviation (of the first batch; by feature where it has two axes). Of
arrays with more axes, such as time windows, the features are along the one axis whose standard deviations
are 100 times apart while those along each other one are within 10 times; else there is one mean for all of
it. The loss compares with the same targets, so that the two ends compare.

Numbers that the model scales itself, as pixels that are divided by 255 twice, show in the output of the
first layer: where it is far from 1, the layer's weights have the size of a usual initialization (or one that
explains less than half of it, in orders of magnitude), and the short training goes better from weights that
bring that output to mean 0 and standard deviation 1, the input is told.

In the batches that were drawn, a number may stand for missing ones that 1 to 90 % of a column are, exactly,
at least 3 times, and that lies outside of all others, farther from them than 10 times their own range; of
numbers that are usual for it, as 999 and 65535, once their range is enough. With such a column the steps are
tried with the median of the others in its place, and the array standardized then. Of arrays with more than
two axes and no axis of features, all of it counts as one column.

## Limits
`ratio = 2`: the loss has to end this many times as high as it does with the array standardized. Where one
feature's standard deviation is 1,000 times another's, it is enough that the loss falls `fall = 4` times as
far with the array standardized, and ends at 0.8 of the other or below: such a feature saturates what it goes
into and hides the rest, and a loss near its beginning is never twice another one. An array is
tried where its rms is above 10 or below 0.05, a |mean| above 3 standard deviations, or one feature's standard
deviation 100 times another's. Sources: choices. A network may well train on inputs of 0 to 255, so that only
what was tried is told, as a warning; it is an error where the loss rises under your optimizer and falls with
the array standardized, or where the gradient of a parameter is exactly zero after the steps and is not with
the array standardized (gates that it saturates, units that it keeps dead). It is a note where the array is
off center alone and the steps more than halve the lower of the two losses at the start as it is.

`far = 100`: a number that stands for missing ones is told of where it is a whole one of 90 or more, or this
many times the range of the others away from them, as a warning; as a note where the loss does not end lower
without it. Any other one, which may be the log of an epsilon, is told of where the loss then ends at 0.8 or
below. Source: of logs with epsilons of 1e-6 to 1e-37 in five columns none was more than 65 ranges away.

## Example
    x = images.astype(np.float32)           # 0 to 255

Use instead:

    x = (images.astype(np.float32) - mean) / std      # mean and std of the training set

Where -9999 stands for a missing number, before anything is scaled:

    missing = x == -9999
    x = np.concatenate([np.where(missing, medians, x), missing], axis=-1)     # medians of the others

## What it does not say
A number that stands for missing ones close to the others, as 0 or 99 among ages, is not told apart from them,
nor is one in a column of 8 different others or fewer, unless another column has it. Integer images that the
loss casts itself are not tried. Where the array is no plain input (coordinates of a differential equation,
times) standardizing it may change what is asked: then ignore the rule.

## Source
LeCun et al. 1998, *Efficient BackProp*, section 4.3; Zhang et al. 2021, *AUTOTRAINER*, and Humbatova et al.
2020, *Taxonomy of Real Faults in Deep Learning Systems* ("missing normalization").
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradscope.records import (
    Layer,
    Measurement,
    RescaledStart,
    Severity,
    ShortTraining,
    StandardizedArray,
)
from gradscope.records.training import LARGE, SMALL, UNEVEN
from gradscope.rules.activations.another_start import helps
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.data_and_loss.missing_numbers import without_numbers
from gradscope.rules.initial_scale import WeightScale, is_usual, weight_scale
from gradscope.rules.parts import source_of
from gradscope.rules.words import names_of, number

RATIO = 2.0
FALL = 4.0
FAR = 100.0
EXTREME = 1000.0
"""Standard deviation of one feature over that of another."""
LOWER = 0.8
EXPLAINED = 0.5
"""By the size of the weights, of that of the first layer's output: below it, it is the input's."""
LEARNS = 0.5
"""Of the lower of the two losses at the start: below it the steps did their work as it is."""


@rule(
    "unnormalized-input",
    severity=Severity.ERROR,
    needs=("training",),
    uses=("flow",),
    ratio=RATIO,
    fall=FALL,
    far=FAR,
)
def unnormalized_input(
    training: ShortTraining, measurement: Measurement | None, limits: Limits
) -> Iterator[Hit]:
    inputs = [array for array in training.standardized if array.is_input]
    bad = [array for array in inputs if better(array, limits["ratio"]) or _hides(array, limits["fall"])]
    for array in inputs:
        if array.fills:
            harmed = severity_of(training, array) if array in bad else None
            yield from without_numbers(training, array, limits["far"], harmed)
    told = [array for array in bad if not array.fills]
    if measurement is not None and training.rescaled is not None and not bad:
        yield from _scaled_by_the_model(measurement, training, training.rescaled)
    for array in told:
        finite = math.isfinite(array.end_without)
        steps = f"{array.steps} steps of {training.optimizer}"
        end = number(array.end_without)
        without = f"{steps} end at a loss of {end}" if finite else f"{steps} end at a loss that is not finite"
        said = (
            f"The input `{array.name}` is not normalized: {how(array)}. {without}; with it standardized they "
            f"end at {number(array.end)}."
        )
        yield Hit(
            message=said + _revived(array),
            remedy=f"Subtract the mean of `{array.name}` over the training set and divide by its standard "
            "deviation, feature by feature.",
            evidence={
                "rms": array.rms,
                "off_center": array.off_center,
                "uneven": array.uneven,
                "loss_after": array.end_without,
                "loss_after_standardized": array.end,
                "limit": limits["ratio"],
            },
            severity=severity_of(training, array),
            layers=training.layers,
            explains=None,
        )


def _scaled_by_the_model(
    measurement: Measurement, training: ShortTraining, start: RescaledStart
) -> Iterator[Hit]:
    scale = badly_fed(measurement, start)
    if scale is None or not helps(start):
        return
    first = start.layers[0]
    yield Hit(
        message=f"What goes into the first layer, `{first.name}`, varies too "
        f"{'little' if first.deviation < 1 else 'much'}: its weights have {number(scale.ratio)} times the "
        f"size of {scale.scheme} initialization, and the standard deviation of its output is "
        f"{number(first.deviation)}. {start.steps} steps of {training.optimizer} take the loss "
        f"from {number(start.start_without)} to {number(start.end_without)}; with that output brought to "
        f"mean 0 and standard deviation 1, from {number(start.start)} to {number(start.end)}.",
        remedy=f"Look at what is done to the input before `{first.name}`, as a division that the loader has "
        "made, too: it should have mean 0 and standard deviation 1.",
        evidence={
            "output_deviation": first.deviation,
            "weight_ratio": scale.ratio,
            "loss_after": start.end_without,
            "loss_after_rescaled": start.end,
        },
        layer=first.name,
        source=source_of(measurement, first.name),
        layers=training.layers,
        explains=None,
    )


def badly_fed(measurement: Measurement, start: RescaledStart) -> WeightScale | None:
    """The weights of the first layer where these have a usual size, or one that explains less than half of
    that of its output, in orders of magnitude."""
    first = start.layers[0]
    fed = [layer for layer in measurement.layers if layer.depth is not None]
    if SMALL <= first.deviation <= LARGE or not fed or min(fed, key=_depth).name != first.name:
        return None
    scale = weight_scale(measurement, [min(fed, key=_depth)])
    if scale is None or is_usual(scale):
        return scale
    explained = math.log(scale.ratio) / math.log(first.deviation)
    return scale if -EXPLAINED < explained < EXPLAINED else None


def _depth(layer: Layer) -> int:
    return layer.depth or 0


def _revived(array: StandardizedArray) -> str:
    if not array.revived:
        return ""
    names = names_of(array.revived)
    return f" After them the gradient of {names} is exactly zero; with it standardized it is not."


def better(array: StandardizedArray, ratio: float = RATIO) -> bool:
    """Whether the steps end far lower with the array standardized."""
    if not math.isfinite(array.end) or array.end <= 0 or array.end >= array.start:
        return False
    return not math.isfinite(array.end_without) or array.end_without > ratio * array.end


def _hides(array: StandardizedArray, fall: float) -> bool:
    """Whether one feature is so much larger than the others that the steps learn little of these."""
    ends = array.end, array.end_without
    if array.uneven < EXTREME or not all(map(math.isfinite, ends)) or not 0 < array.end < array.start:
        return False
    falls = array.start - array.end, max(array.start_without - array.end_without, 0.0)
    return falls[0] > fall * falls[1] and array.end < LOWER * array.end_without


def severity_of(training: ShortTraining, array: StandardizedArray) -> Severity:
    """The steps of the user's own optimizer did harm or could not help, or they were slow; or they went well,
    and might go better."""
    if array.revived:
        return Severity.ERROR
    off_center_alone = SMALL <= array.rms <= LARGE and array.uneven <= UNEVEN
    if off_center_alone and array.end_without < LEARNS * min(array.start_without, array.start):
        return Severity.NOTE
    harm = training.own and not array.end_without <= array.start_without
    return Severity.ERROR if harm else Severity.WARNING


def how(array: StandardizedArray) -> str:
    """What is odd about its numbers, the oddest first."""
    said = [f"its rms is {number(array.rms)}"]
    if array.off_center > 1:
        said.append(f"a mean is {number(array.off_center)} standard deviations from 0")
    if array.uneven > 10:
        said.append(f"one feature's standard deviation is {number(array.uneven)} times another's")
    return ", ".join(said)
