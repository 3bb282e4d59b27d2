"""The last activation function and the loss do not fit: a softmax twice, a ReLU for negative targets.

## What it does
Reports outputs that cannot become what the loss asks for: probabilities that are normalized once more, a
softmax over one unit, a ReLU, sigmoid, tanh or softmax compared with targets outside of its range, scores
that the labels choose without a log-softmax, whose loss has no minimum, a log-likelihood whose minus is
missing, a distance from the targets with a minus before it, a binary cross-entropy or an overlap (Dice,
Jaccard) with targets outside of [0, 1], a binary cross-entropy of an output that is no probability, a softmax
whose rows of labels have more than one 1 or that runs over another axis than the one that the labels choose
along, and a ReLU on the scores of a cross-entropy.

## Why is this bad
Nothing fails, and the loss falls for a while. Logits between 0 and 1 give nearly equal probabilities, so a
second softmax keeps the loss high and the gradient small. A softmax over one unit is 1 whatever its input. An
output that ends at 0 never reaches a negative target, and where a ReLU is 0 it passes no gradient either. A
loss that is affine in a layer falls forever, and training is a race of the scores to infinity. So do a
log-likelihood that is minimized, which makes the right answers improbable, and a distance from the targets
that is maximized. Scores that are a ReLU's never say no: where one is 0, no gradient comes back to lower or
to raise it. An overlap with masks of 0 and 255 hardly asks what the output is outside of the mask, and goes
below 0 as a loss.

## How it is measured
From the program (its jaxpr): a softmax is told by its exponentials and their sum, whoever wrote it, and is an
output as long as no product with parameters or with other values of the model comes behind it. Targets are
computed from the batches alone, all elements of them. *Unexplained* is the mean squared distance of the
targets from the output's range over their variance: what no training can remove, as 1 - R². A loss is affine
in a parameter where only sums, views and products with the batch or with other parameters lie behind it, no
penalty included; with a gradient that is not 0 it then has no minimum. The log-probability of the labels is
followed to the loss through sums, views and numbers that the program writes: what it is multiplied by has to
be negative. The log of a sigmoid that labels multiply is followed in the same way, and so is the square or
the absolute value of an output less targets, whose factor has to be positive. A binary cross-entropy is the
sum of two logarithms of the model, times numbers of the batch that add up to a constant, or max(x, 0) - x y +
log(1 + exp(-|x|)) of a logit x. What its logarithms are of is followed back through clips to a ReLU, a tanh
or a layer with its bias. An overlap is a sum of products of a sigmoid or softmax with targets, over what
holds the sum of each of these two (or of its squares) as a term.

## Limits
- `unexplained = 0.05`: an error; R² stays below 0.95 however long the training. Source: our choice; a target
  that rounding or a little noise carries over the end of the range is far below.
- `little = 0.01`: a warning.
- `several = 0.1`: a warning; share of the rows with a label that have more than one under a softmax. Source:
  our choice; one in a hundred may be a mistake of the data.

A single unit is an error where the layer's gradient is exactly 0. A missing minimum is an error where class
labels choose the scores of one run of the layer, else a warning: a critic whose weights are clipped after
each step has one, too. A second softmax is a warning: it may train, slowly; so is a ReLU on scores. A
log-likelihood or a distance with the wrong sign is told where the loss has no such term of the usual sign
beside it, as an adversary's has. It is a warning, because an attack on a network wants just that.

## Example
    probabilities = jax.nn.softmax(h @ params["out"])
    return optax.softmax_cross_entropy_with_integer_labels(probabilities, labels).mean()

Use instead:

    logits = h @ params["out"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

## What it does not say
A log-softmax of a log-softmax is the same one and is not reported; nor are probabilities times a temperature,
a softmax inside of attention, one over places with targets that sum to 1 over these (heat maps), a squared
error on probabilities (a Brier score, which is proper), and means of an output without labels (the loss of a
Wasserstein critic). The sign of log-probabilities that a reward multiplies, or the size of a mask divides,
depends on the data, and they are left alone. Several labels under a softmax are not told where the network
gets them as its input (a multinomial likelihood of items or words), where the classes are the examples of the
batch, and where any label is another number than 0 and 1, as after a division by their sum.

## Source
"Wrong activation for the output layer" and "redundant softmax" in Humbatova et al. 2020, *Taxonomy of Real
Faults in Deep Learning Systems* (ICSE), arXiv:1910.11015; Zhang et al. 2021, *AUTOTRAINER* (ICSE).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradscope.records import Measurement, OutputFault, OutputMismatch, Severity
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.data_and_loss.fault_texts import BY_ITSELF
from gradscope.rules.words import names_of, number


@rule(
    "mismatched-output",
    severity=Severity.ERROR,
    unexplained=0.05,
    little=0.01,
    several=0.1,
)
def mismatched_output(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    told = set()
    for output in measurement.objective.outputs:
        hit = _judged(measurement, output, limits)
        if hit is not None and (place := (output.fault, output.source, output.layer)) not in told:
            told.add(place)
            yield hit


def _judged(measurement: Measurement, output: OutputMismatch, limits: Limits) -> Hit | None:
    if output.fault in BY_ITSELF:
        return BY_ITSELF[output.fault](output)
    if output.fault is OutputFault.OUT_OF_RANGE:
        return _out_of_range(measurement, output, limits)
    if output.fault is OutputFault.SEVERAL_LABELS:
        return _several_labels(output, limits)
    return (_single_unit if output.fault is OutputFault.SINGLE_UNIT else _no_minimum)(measurement, output)


def _several_labels(output: OutputMismatch, limits: Limits) -> Hit | None:
    if output.several < limits["several"] * output.labelled:
        return None
    return Hit(
        message=(
            f"A softmax over {output.classes} classes meets several labels: {output.several:,} of the "
            f"{output.labelled:,} rows with a label have more than one, and up to {output.most}. The "
            "probabilities of a row add up to 1, so that the loss is least where n labels get 1/n each, and "
            "how many there are is not learned."
        ),
        remedy="Where each label holds or not whatever the others do, ask for each by itself: "
        "`optax.sigmoid_binary_cross_entropy(logits, labels)`. Where they share what there is, divide each "
        "row of labels by its sum.",
        evidence={
            "classes": output.classes,
            "labelled": output.labelled,
            "several": output.several,
            "most": output.most,
            "limit": limits["several"],
        },
        layer=output.layer,
        source=output.source,
        severity=Severity.WARNING,
        explains=None,
    )


def _single_unit(measurement: Measurement, output: OutputMismatch) -> Hit:
    still = any(one.name == output.layer and one.gradient_max == 0 for one in measurement.layers)
    zero = tuple(one.name for one in measurement.layers if one.gradient_max == 0)
    told = f" The gradient of `{output.layer}` is exactly 0." if still else ""
    return Hit(
        message="A softmax over an axis of length 1 is 1 whatever its input, and passes no gradient on to it."
        f"{told}",
        remedy=(
            "For two classes from one unit use a sigmoid: `optax.sigmoid_binary_cross_entropy(logits, y)`. "
            "For several classes give the layer a unit for each, and normalize along their axis."
        ),
        evidence={"classes": 1},
        layer=output.layer,
        source=output.source,
        severity=Severity.ERROR if still else Severity.WARNING,
        explains=zero,
    )


def _out_of_range(measurement: Measurement, output: OutputMismatch, limits: Limits) -> Hit | None:
    lost, outside = output.unexplained or 0.0, output.outside or 0.0
    if lost < limits["little"] or output.smallest is None or output.largest is None:
        return None
    ends = f"[{number(output.low)}, {number(output.high)}]"
    below, above = f"never below {number(output.low)}", f"never above {number(output.high)}"
    reach = below if output.high == math.inf else above if output.low == -math.inf else f"always in {ends}"
    still = measurement.gradient_norm == 0
    return Hit(
        message=(
            f"The output is a {output.function} and {reach}, but {outside:.1%} of the targets, which go from "
            f"{number(output.smallest)} to {number(output.largest)}, lie outside. Their squared distance "
            f"from the range is {lost:.1%} of the targets' variance, and no training removes it (limit "
            f"{limits['unexplained']:.0%})."
        ),
        remedy=_range_remedy(output),
        evidence={
            "function": output.function,
            "smallest": output.smallest,
            "largest": output.largest,
            "outside": outside,
            "unexplained": lost,
            "limit": limits["unexplained"],
        },
        layer=output.layer,
        source=output.source,
        severity=Severity.ERROR if lost >= limits["unexplained"] else Severity.WARNING,
        explains=tuple(layer.name for layer in measurement.layers) if still else (),
    )


def _range_remedy(output: OutputMismatch) -> str:
    where = f"`{output.layer}`" if output.layer else "the last layer"
    ends = f"[{number(output.low)}, {number(output.high)}]"
    if output.function == "ReLU":
        return f"Leave the output of {where} without ReLU: a regression has a linear last layer."
    return f"Leave the output of {where} without {output.function}, or scale the targets into {ends}."


def _no_minimum(measurement: Measurement, output: OutputMismatch) -> Hit | None:
    moving = {one.name for one in measurement.parameters if one.gradient_max > 0}
    names = [name for name in output.parameters if name in moving]
    if not names:
        return None
    what = (
        f"The loss is affine in {names_of(names)}, with a gradient that is not 0: it has no minimum, and "
        "falls without end along it."
    )
    labels = output.class_labels
    # Scores of two runs, one of which is to rise as the other falls, are those of a critic.
    critic = any(layer.uses > 1 for layer in measurement.layers if layer.name == output.layer)
    return Hit(
        message=(what + " The labels choose the scores of classes, and nothing normalizes these." * labels),
        remedy=(
            "Normalize the scores first: `jax.nn.log_softmax(scores)`, or let "
            "`optax.softmax_cross_entropy(scores, labels)` do it."
            if labels and not critic
            else "Compare the output with its targets by a loss that has a minimum: a squared error, a "
            "cross-entropy, a hinge. Where the parameters are bounded otherwise, as those of a critic that "
            "are clipped after each step, ignore this."
        ),
        evidence={"parameters": ", ".join(names), "class_labels": int(labels)},
        layer=output.layer,
        source=output.source,
        severity=Severity.ERROR if labels and not critic else Severity.WARNING,
    )
