"""The weights have a scale that keeps the network from learning: rescaled ones were tried, and train.

## What it does
Where layers are dead or saturated, where the outputs of hidden layers differ in size by more than 1,000
times, where one of them has an rms below 0.01 or above 100, and where a bias makes up four fifths of the mean
square of one, the short training is run once more from weights that are rescaled layer by layer. A finding is
told only where that trains clearly better.

## Why is this bad
A signal that shrinks or grows with every layer leaves the first or the last ones without a usable gradient;
in a saturated layer little of it comes back.

## How it is measured
On the first batch, from the first layer to the last: the output of each layer is measured, the means of its
units are taken off its bias, and its weights are divided by the standard deviation that is left, where that
is below 0.5 or above 2 (the last layer is only ever made smaller). Then the problem's optimizer makes the
same steps from there, five times as many as the short training has.

Gains are measured from the lower of the two losses at the start: a loss that is only large at first and falls
quickly is no gain of the other start.

## Limits
From the user's own start the steps gain at most half of what they gain from the rescaled one. Source: a
choice; the gain was 0.9 and more of the other in networks of usual initialization. `fall = 0.05`: it is an
error where they take away no more than this share of the lower start; a network that learns, but more
slowly, is a warning.

## Example
    w = jax.random.normal(key, (256, 256)) * 1e-3

Use instead:

    w = jax.nn.initializers.he_normal()(key, (256, 256))

## What it does not say
A short gain is not promised to last. Networks with more than 32 products, and those of which fewer than 20
steps are affordable, are not tried. Products inside a loop over time stay as they are.
Where layers make all rows alike, other than by a bias that is far larger than the rest of the output, the
finding is `collapsed-representations`; where an array of the batch has
another scale, it is `unnormalized-input` or `unscaled-target`. An error of another rule speaks for this one:
what is tried says little of a program that has another fault.

## Source
Mishkin and Matas 2016, *All you need is a good init*, arXiv:1511.06422; He et al. 2015, arXiv:1502.01852.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Measurement, RescaledLayer, RescaledStart, Severity, ShortTraining
from gradscope.rules.activations.another_start import helps
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.data_and_loss.unnormalized_input import badly_fed, better
from gradscope.rules.initial_scale import biases_of, is_usual, weight_scale
from gradscope.rules.parts import source_of
from gradscope.rules.words import number

ALIKE = 0.03
"""As in `collapsed-representations`."""
SHOWN = 3
BIAS = 0.9
"""Size of a bias over that of the mean outputs, which are then its own."""
FAR = 2.0
"""A standard deviation so many times larger or smaller than one is what is told of a layer, not its bias."""


@rule(
    "mis-scaled-initialization",
    severity=Severity.ERROR,
    needs=("flow", "training"),
    fallback=True,
    fall=0.05,
)
def mis_scaled_initialization(
    measurement: Measurement, training: ShortTraining, limits: Limits
) -> Iterator[Hit]:
    start = training.rescaled
    if start is None or not helps(start) or _odd_data(training):
        return
    if _collapsed(training) and not _is_its_bias(measurement, start.layers[0]):
        return
    if badly_fed(measurement, start) is not None:
        return
    first = start.layers[0]
    names = [each.name for each in start.layers]
    rest = len(start.layers) - SHOWN
    shown = ", ".join(_how(each) for each in start.layers[:SHOWN])
    more = f" and {rest} more" if rest > 0 else ""
    lower = min(start.start_without, start.start)
    hardly = not lower - start.end_without > limits["fall"] * abs(lower)
    how = "hardly learns" if hardly else "learns more slowly"
    yield Hit(
        message=f"From where it starts the network {how}: {start.steps} steps of "
        f"{training.optimizer} take the loss from {number(start.start_without)} to "
        f"{number(start.end_without)}. With {shown}{more} "
        f"{'brought to mean 0 and standard deviation 1' if _centered(start) else 'brought to an rms of 1'} "
        f"they take it from {number(start.start)} to {number(start.end)}.",
        remedy=_remedy(measurement, first),
        evidence={
            "layers": len(start.layers),
            "loss_after": start.end_without,
            "loss_after_rescaled": start.end,
            "limit": limits["fall"],
        },
        severity=None if hardly else Severity.WARNING,
        layer=first.name,
        source=source_of(measurement, first.name),
        layers=tuple(names),
        explains=None,
    )


def _centered(start: RescaledStart) -> bool:
    """Without a bias the mean of an output stays, and its rms is what becomes 1."""
    return all(layer.offset for layer in start.layers)


def _collapsed(training: ShortTraining) -> bool:
    """All rows are alike somewhere, of which a rescaled start lets a little more through: another cause."""
    return any(spread.before < ALIKE for spread in training.spreads)


def _is_its_bias(measurement: Measurement, first: RescaledLayer) -> bool:
    """Rows are alike since the layer adds the same to all of them, and little else."""
    biases = [bias.weight_rms for bias in biases_of(measurement, first.name)]
    return first.offset > FAR * first.deviation and any(rms > BIAS * first.offset for rms in biases)


def _odd_data(training: ShortTraining) -> bool:
    """The scale of the data is the cause: with them standardized the weights are as they should be."""
    return any(not array.is_input or better(array) for array in training.standardized)


def _how(layer: RescaledLayer) -> str:
    if 1 / FAR < layer.deviation < FAR and layer.offset:
        return f"the output of `{layer.name}` (mean {number(layer.offset)} from 0)"
    size = "standard deviation" if layer.offset else "rms"
    return f"the output of `{layer.name}` ({size} {number(layer.deviation)})"


def _remedy(measurement: Measurement, first: RescaledLayer) -> str:
    layer = next(each for each in measurement.layers if each.name == first.name)
    if 1 / FAR < first.deviation < FAR:
        biases = biases_of(measurement, first.name)
        if biases and not any(bias.weight_rms for bias in biases):
            return f"Center what goes into `{first.name}`: its bias is 0, and its mean outputs are not."
        return f"Start the bias of `{first.name}` at 0."
    scale = weight_scale(measurement, [layer])
    if scale is not None and is_usual(scale):
        return (
            f"The weights of `{first.name}` have the size of {scale.scheme} initialization, so it is what "
            f"goes into it: divide that by {number(first.deviation)}, or normalize it."
        )
    if scale is not None:
        return (
            f"Start `{first.name}` from {scale.scheme} initialization: standard deviation "
            f"{number(scale.wanted)}, it has {number(scale.measured)}."
        )
    return f"Divide the weights of `{first.name}` by {number(first.deviation)} at the start."
