"""The softmax of an attention runs over the queries or the batch: the weights of a query do not sum to 1.

## What it does
Reports attention whose weights sum to 1 over the queries, or over the examples of the batch, and are summed
with the values over the keys.

## Why is this bad
A query that should choose among the keys gets a sum of values with weights that add up to anything: queries
take weight from each other, and one that resembles no key gets next to nothing. Over the batch, examples do.

## How it is measured
The axes are read from the program: along which the exponentials are summed, and along which the product with
the values sums. The sums of the weights of a query are those of the measured batches.

## Limits
None: the axes are those of the program. It is told where the sums are off 1 by more than 0.05.

## Example
    weights = jax.nn.softmax(q @ k.T, axis=0)
    out = weights @ v

Use instead:

    weights = jax.nn.softmax(q @ k.T, axis=-1)
    out = weights @ v

## What it does not say
Where queries compete for the keys on purpose, as the slots of slot attention do, and the weights, or what
they gather, are divided by the sum of the weights over the keys, nothing is told. A softmax over an axis that
queries and keys share (routing between capsules) is not judged.

## Source
Vaswani et al. 2017, *Attention Is All You Need*, section 3.2.1; Locatello et al. 2020, *Object-Centric
Learning with Slot Attention*, arXiv:2006.15055, for the one that is meant.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Measurement, Severity, WrongAxis
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import number


@rule("wrong-attention-axis", severity=Severity.WARNING)
def wrong_attention_axis(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    del limits
    found = [each for each in measurement.attentions if each.wrong_axis is not None]
    if not found:
        return
    first = found[0]
    more = "" if len(found) == 1 else f" The same holds for {len(found) - 1} more."
    asked = "" if first.queries is None else f" {first.queries:,}"
    slots = first.wrong_axis is WrongAxis.QUERIES
    over = f"its{asked} queries" if slots else "the examples of the batch"
    meant = (
        " If the queries are to compete for the keys, as slots do, divide the weights by their sum over the "
        "keys."
    )
    yield Hit(
        message=f"The softmax of this attention runs over {over}, and the product with the values sums over "
        f"its {first.keys:,} keys: the weights of a query add up to between {number(first.lowest_sum)} and "
        f"{number(first.highest_sum)}, not to 1.{more}",
        remedy="Give `jax.nn.softmax` the axis of the keys, the one that the product with the values sums "
        f"over.{meant if slots else ''}",
        evidence={
            "lowest": first.lowest_sum,
            "highest": first.highest_sum,
            "keys": first.keys,
            "attentions": len(found),
        },
        layer=first.query,
        source=first.weighed,
    )
