"""A model with attention does not know the order of its places, and trains better with positions.

## What it does
Reports a model whose loss stays as it is with the places of its sequences in another order, where the same
model trains clearly better with positions added to its inputs.

## Why is this bad
Attention sees a set. Without positions (embedded, as sines, rotated, as a bias of the scores) or a causal
mask a sentence and its words in any order are the same, and what depends on the order cannot be learned.

## How it is measured
Where an attention has as many queries as keys, the loss of the first batch is taken again with the places
of all its arrays in another order. Where it stays as it is, sines and cosines of the place, as large as the
inputs, are added where these come into the model, and it is trained from the same weights on the same
batches, five times as many steps as the short training has.

## Limits
The loss stays within 1e-5 of itself. Clearly better is a training that gains twice as much, or ends at half
of the loss or less, by at least 5 % of what it gains. With a single batch, which positions may help to learn
by heart, it is a warning. A loss that falls by 1 % of itself or less with it is not better, nor one that
falls by less than a tenth of what it falls by without, unless it ends at half that share of its start or
less.

## Example
    x = tokens_table[tokens]
    x = x + attention(params, norm(x))

Use instead:

    x = tokens_table[tokens] + positions_table
    x = x + attention(params, norm(x))

## What it does not say
A model of sets is meant to be blind to the order, and nothing is told of one that does not train better.
Not judged are models with dropout, which draws other numbers for other places, and those in half precision,
whose rounding moves the loss. An error of another rule speaks for this one.

## Source
Vaswani et al. 2017, *Attention Is All You Need*, section 3.5; Jahan et al. 2025 on faults in attention
(positional encoding).
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Measurement, Severity, ShortTraining
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.variants import compared
from gradscope.rules.words import number


@rule("missing-positions", severity=Severity.ERROR, needs=("flow", "training"), fallback=True)
def missing_positions(measurement: Measurement, training: ShortTraining, limits: Limits) -> Iterator[Hit]:
    del limits
    blind, tried = measurement.structure.order_blind, measurement.structure.placed
    if blind is None or tried is None or not tried.better:
        return
    yield Hit(
        message=f"The model does not know the order of its {blind.places} places: with these in another "
        f"order the loss of the first batch stays {number(blind.loss)}."
        f"{compared(tried, training, 'positions added')}",
        remedy="Add positions where the places come in: an embedding of the place, or sines and cosines.",
        evidence={
            "places": blind.places,
            "loss": blind.loss,
            "loss_in_another_order": blind.other,
            "loss_after": tried.end_without,
            "loss_after_positions": tried.end,
        },
        source=blind.source,
        severity=Severity.WARNING if training.batches == 1 else Severity.ERROR,
    )
