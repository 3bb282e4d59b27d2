"""The first cross-entropy is far from ln C: it is averaged over its classes, too, or its scores are huge.

## What it does
Reports log-probabilities that are multiplied by class labels and then averaged over all elements: over the
examples and over the classes of each. And a classifier whose first loss is many times that of equal
probabilities, and still is after the short training.

## Why is this bad
Of the C products of an example all but one are 0, so the mean is the cross-entropy divided by C, and so are
the gradient and each step of plain gradient descent. Training looks stuck, more so with more classes. Beside
another term, or a penalty, the cross-entropy weighs C times less than written. The first loss shows it: a
classifier that knows nothing has a loss near ln C, and this one has ln C / C.

A loss of many times ln C means scores that are far apart: the network is sure of answers that it has not
learned. The first steps, or all of a run, go into taking them back.

## How it is measured
From the program (its jaxpr): a log-softmax along one axis, times an array of the batch whose rows sum to 1
along that axis (measured, on every row), is followed to the loss through sums and through numbers that the
program writes. It is reported where each product ends up divided by the number of examples times the number
of classes. In the same way a loss is recognized that is the mean cross-entropy of class labels and nothing
else; its value before and after the short training is held against ln C. The classes may be the examples
themselves, as in a contrastive loss, whose labels are the numbers of the rows. Then it is tried: 100 steps of
the short training with the scores divided by their standard deviation at the start, from the same weights
over the same batches.

## Limits
The divisor is that product or it is not (within 2 %, the rounding of a count in half precision). A warning:
Adam and its relatives undo a factor of the whole loss. `first = 30` and `after = 10` times ln C, before and
after 20 steps of your optimizer. Source: choices; of 66 healthy classifiers of our tests the furthest begins
at 8.9 times ln C, and is at 3.7 times after the steps. It is an error where the loss does not fall with the
scores as they are, or hardly, and does with them divided; a rate that is too high for such scores is then a
symptom, since no step was taken when the first loss was measured.

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

from gradscope.records import CrossEntropy, Measurement, Severity, ShortTraining, TriedScores
from gradscope.records.training import FAR_ABOVE, STILL_ABOVE
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import number

STEPS = 20


@rule(
    "unexpected-initial-loss",
    severity=Severity.ERROR,
    symptom_of=("unnormalized-input", "mis-scaled-initialization", "exploding-activations"),
    uses=("training",),
    single_seed_suffices=True,
    first=FAR_ABOVE,
    after=STILL_ABOVE,
)
def unexpected_initial_loss(
    measurement: Measurement, training: ShortTraining | None, limits: Limits
) -> Iterator[Hit]:
    if training is not None and training.own and training.steps >= STEPS:
        for entropy in measurement.objective.cross_entropies:
            yield from _far_above(entropy, training, limits)
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
            severity=Severity.WARNING,
            layer=found.layer,
            source=found.source,
            explains=None,
        )


def _far_above(entropy: CrossEntropy, training: ShortTraining, limits: Limits) -> Iterator[Hit]:
    uniform = math.log(entropy.classes)
    tried = training.scores if training.scores is not None and training.scores.tried.better else None
    high = training.start > limits["first"] * uniform and not training.end <= limits["after"] * uniform
    if not (high and math.isfinite(training.start)) or (tried is None and not math.isfinite(training.end)):
        return
    said = (
        f"The first loss is {number(training.start)}, {number(training.start / uniform)} times that of equal "
        f"probabilities for {entropy.classes} classes (ln {entropy.classes} = {number(uniform)}): the scores "
        "are far apart, and the labels' are not the high ones. After "
        f"{training.steps} steps of your optimizer it is {number(training.end)}."
    )
    yield Hit(
        message=said if tried is None else f"{said} {_divided(tried)}",
        remedy="Start with smaller scores: smaller weights in the layer that makes them (or in the embedding "
        "that they are shared with), or the scores divided by the root of their width."
        if tried is None
        else "Divide the scores by more, as by a temperature, normalize what they are products of, or start "
        "with smaller weights in the layer that makes them.",
        evidence={
            "loss": training.start,
            "loss_after": training.end,
            "classes": entropy.classes,
            "uniform": uniform,
            "limit": limits["first"],
            **(
                {} if tried is None else {"deviation": tried.deviation, "loss_after_divided": tried.tried.end}
            ),
        },
        layer=entropy.layer,
        source=entropy.source if tried is None or tried.source is None else tried.source,
        severity=Severity.WARNING if tried is None else Severity.ERROR,
        explains=None,
    )


def _divided(scores: TriedScores) -> str:
    tried = scores.tried
    return (
        f"The standard deviation of an example's scores is {number(scores.deviation)}: with them divided by "
        f"it, {tried.steps} steps take the loss from {number(tried.start)} to {number(tried.end)}; as they "
        f"are, from {number(tried.start_without)} to {number(tried.end_without)}."
    )
