"""The output for one example depends on the others of its batch: a softmax, reshape or loop over their axis.

## What it does
Reports probabilities that are normalized over the rows of a batch while the labels choose among classes, a
`reshape` that exchanges the axis of the examples with another one, where a transpose was wanted, and a
recurrent loop whose steps are the examples.

## Why is this bad
A softmax over the rows makes them compete for each class, and the loss starts near the log of the batch
size. A reshape from (examples, steps) to (steps, examples) keeps the order of the elements, so that a row
then holds parts of several examples. A `scan` over (examples, steps, features) hands the state from example
to example, and never from step to step. All train to something, worse than it could be, and an example
alone gets another answer than in a batch.

## How it is measured
- The softmax from the program (its jaxpr) and exactly: it is told by its exponentials and their sum, runs
  along axis 0, and labels choose along another one (integers, or shares that sum to 1 along that axis
  alone, in every batch).
- The reshape and the loop by running the program: every second example is replaced by other values, where
  it meets the parameters, and the output of the others has to stay as it is. It is reported where it does
  not, and where a repeated run of the first batch gives the same bits. Of a loop, the program says that its
  steps are the examples, and that its state has a row for each place of an example, of which the targets
  have none.

## Limits
None that can be set. For both of these a change below 1e-6 of the largest change of the output is taken for
rounding; where the program has a Fourier transform, or runs on an accelerator, below 1e-3. The reshape and
the loop are warnings: what was meant is not known.

## Example
    log_p = jax.nn.log_softmax(logits, axis=0)
    steps = x.reshape(x.shape[1], x.shape[0], -1)
    h, _ = jax.lax.scan(step, h, x)                     # x: (examples, steps, features)

Use instead:

    log_p = jax.nn.log_softmax(logits, axis=-1)
    steps = jnp.swapaxes(x, 0, 1)
    h, _ = jax.lax.scan(step, h, jnp.swapaxes(x, 0, 1))

## What it does not say
A loop over one long series, over steps that come first in the batch, or with a state that has no row for
each place of an example is as it should be. A reshape that trains clearly better as a transpose is an error
of `reshape-for-transpose`, and told there alone. Statistics over the batch (BatchNorm), contrastive losses,
attention between examples and routing with a capacity are choices and not looked at, nor is a softmax over
the scores of one list, where there are no classes, or one that is taken along one axis after the other.

## Source
Karpathy 2019, *A Recipe for Training Neural Networks*, "use backprop to chart dependencies": a reshape in
the place of a transpose mixes information across the batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradscope.records import BatchLeak, BatchMix, Measurement, Severity
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import number, shape_text


@rule("batch-leak", severity=Severity.ERROR, single_seed_suffices=True)
def batch_leak(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    told = set[object]()
    tried = measurement.structure.transposed
    exchanged = tried is not None and tried.better
    for found in measurement.objective.batch_leaks:
        if found.mix is BatchMix.RESHAPE and exchanged:
            continue
        if (found.mix, found.source) not in told:
            told.add((found.mix, found.source))
            if found.mix is BatchMix.SOFTMAX:
                yield _softmax(found, measurement.loss)
            else:
                yield _recurrence(found) if found.mix is BatchMix.RECURRENCE else _reshape(found)


def _softmax(found: BatchLeak, loss: float) -> Hit:
    along = found.classes or 0
    rows, classes = found.shape[found.axis], found.shape[along]
    return Hit(
        message=(
            f"The {found.function} runs over the {rows} rows of its {shape_text(found.shape)} (axis "
            f"{found.axis}), and the labels choose among the {classes} classes of each row (axis {along}): "
            "the probabilities of a class sum to 1 over all rows, and nothing makes those of a row do so. "
            f"Equal probabilities have a cross-entropy of ln {rows} = {number(math.log(rows))} in place of "
            f"ln {classes} = {number(math.log(classes))}; the loss is {number(loss)}."
        ),
        remedy=f"Normalize over the classes: `axis={along - len(found.shape)}`.",
        evidence={"axis": found.axis, "classes_axis": along, "rows": rows, "classes": classes},
        layer=found.layer,
        source=found.source,
    )


def _reshape(found: BatchLeak) -> Hit:
    change, largest = found.change or 0.0, found.largest or 0.0
    return Hit(
        message=(
            f"A reshape turns {shape_text(found.shape)} into {shape_text(found.result)}. It keeps the order "
            "of the elements and exchanges no axes, so that a row holds parts of several examples: with "
            f"every second example replaced, the output for example {found.example}, which was not, changed "
            f"by {number(change)} (by {number(largest)} at most for any)."
        ),
        remedy="Exchange the axes: `jnp.swapaxes(x, 0, 1)`. Where examples are meant to mix, ignore this.",
        evidence={
            "example": found.example,
            "examples": found.shape[found.axis],
            "change": change,
            "largest": largest,
        },
        layer=found.layer,
        source=found.source,
        severity=Severity.WARNING,
    )


def _recurrence(found: BatchLeak) -> Hit:
    change, largest, examples = found.change or 0.0, found.largest or 0.0, found.shape[found.axis]
    return Hit(
        message=(
            f"This loop runs over the {examples} examples of its {shape_text(found.shape)}, and its state "
            f"has a row for each of their {found.places} places: it goes from example to example, and never "
            "from place to place. With every second example replaced, the output for example "
            f"{found.example}, which was not, changed by {number(change)} (by {number(largest)} at most for "
            "any)."
        ),
        remedy="Put the steps first: `jnp.swapaxes(x, 0, 1)` before the loop, and a state for each example.",
        evidence={
            "example": found.example,
            "examples": examples,
            "places": found.places,
            "change": change,
            "largest": largest,
        },
        layer=found.layer,
        source=found.source,
        severity=Severity.WARNING,
    )
