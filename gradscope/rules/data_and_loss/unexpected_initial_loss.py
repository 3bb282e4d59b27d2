"""A cross-entropy is averaged over its classes, too, and is smaller than it should be by their number.

## What it does
Reports log-probabilities that are multiplied by class labels and then averaged over all elements: over the
examples and over the classes of each.

## Why is this bad
Of the C products of an example all but one are 0, so the mean is the cross-entropy divided by C, and so are
the gradient and each step of plain gradient descent. Training looks stuck, more so with more classes. Beside
another term, or a penalty, the cross-entropy weighs C times less than written. The first loss shows it: a
classifier that knows nothing has a loss near ln C, and this one has ln C / C.

## How it is measured
From the program (its jaxpr): a log-softmax along one axis, times an array of the batch whose rows sum to 1
along that axis (measured, on every row), is followed to the loss through sums and through numbers that the
program writes. It is reported where each product ends up divided by the number of examples times the number
of classes.

## Limits
None: the divisor is that product or it is not (within 2 %, the rounding of a count in half precision). A
warning: Adam and its relatives undo a factor of the whole loss.

## Example
    log_p = jax.nn.log_softmax(logits)
    return -jnp.mean(log_p * one_hot)

Use instead:

    return -jnp.mean(jnp.sum(log_p * one_hot, axis=-1))

## What it does not say
Sums over the batch, sums over the tokens of a sequence and weights of classes are choices, and not reported.
Nor are independent labels of several classes, whose sigmoid cross-entropy is commonly averaged over the
classes.

## Source
Karpathy 2019, *A Recipe for Training Neural Networks*: "verify loss @ init"; "wrong loss function
calculation" in Humbatova et al. 2020, *Taxonomy of Real Faults in Deep Learning Systems* (ICSE),
arXiv:1910.11015.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradscope.records import Measurement, Severity
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import number


@rule("unexpected-initial-loss", severity=Severity.WARNING, single_seed_suffices=True)
def unexpected_initial_loss(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    for found in measurement.objective.class_averages:
        uniform = math.log(found.classes)
        yield Hit(
            message=(
                f"The cross-entropy is averaged over its {found.classes} classes as well as over the "
                f"examples, and is {number(found.factor)} times too small: equal probabilities give "
                f"{number(uniform)} / {found.classes} = {number(uniform / found.factor)} in place of "
                f"ln {found.classes} = {number(uniform)}. The loss is {number(measurement.loss)}."
            ),
            remedy=(
                "Sum over the classes, then average over the examples: "
                "`-jnp.mean(jnp.sum(log_p * one_hot, axis=-1))`."
            ),
            evidence={
                "loss": measurement.loss,
                "classes": found.classes,
                "uniform": uniform,
                "factor": found.factor,
            },
            layer=found.layer,
            source=found.source,
            explains=None,
        )
