"""Features of an input have no influence on the loss, whatever they are.

## What it does
With `--inputs`, reports features of an input that vary from row to row, and with respect to which the
gradient of the loss is exactly 0 in every row of the batches that were looked at.

## Why is this bad
What the network cannot see it cannot use. A slice that takes too few columns, a mask that is applied to the
wrong axis, a `stop_gradient` on a part, or an embedding that is never added are how it happens.

## How it is measured
The loss is differentiated with respect to each array of floats that the network takes in, on all batches
that `check` looks at. A feature is one element of a row.

## Limits
None: exactly 0 in every row. A note, as features may be left out on purpose, and a ReLU may cut one off in
all rows of a small batch.

## Example
    logits = model(x[:, :8])     # x has 10 columns

Use instead:

    logits = model(x)

## What it does not say
It looks at inputs of floats only: tokens and other integers have no gradient. A feature with a tiny gradient
is not ignored; the report lists the strongest ones. Features that are the same in all rows are counted apart.

## Source
Simonyan et al. 2014, *Deep Inside Convolutional Networks* (the gradient with respect to the input).
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import InputGradient, Measurement, Severity
from gradscope.rules.base import Hit, Limits, rule


@rule("ignored-input", severity=Severity.NOTE, single_seed_suffices=True)
def ignored_input(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    for found in measurement.input_gradients:
        if 0 < found.ignored_count < found.features:
            yield Hit(
                message=_message(found),
                remedy="Nothing to do if they are left out on purpose; else look at slices and masks between "
                f"`{found.name}` and the first layer.",
                evidence={
                    "ignored": found.ignored_count,
                    "features": found.features,
                    "rows": found.rows,
                },
            )


def _message(found: InputGradient) -> str:
    some = ", ".join(found.ignored)
    more = "" if found.ignored_count == len(found.ignored) else ", ..."
    have, they, them = (
        ("has", "it varies", "it") if found.ignored_count == 1 else ("have", "they vary", "them")
    )
    return (
        f"{found.ignored_count:,} of {found.features:,} features of `{found.name}` ({some}{more}) {have} no "
        f"influence on the loss: {they}, and the gradient with respect to {them} is exactly 0 in all "
        f"{found.rows:,} rows."
    )
