"""An attention has a single key, whose weight is always 1: queries and keys have no effect.

## What it does
Reports attention of which no row has two keys: a sequence of length 1, or a mask that leaves one.

## Why is this bad
A softmax over one number is 1. Queries and keys have no effect on the loss and get a gradient of exactly
zero; what is left of the attention is a linear map of the values. The likely cause is an axis in the wrong
place.

## How it is measured
The number of keys is read from the program. Where a mask leaves a single one, the gradients of the layers of
queries and keys are exactly zero, too.

## Limits
None: the gradient is exactly zero.

## Example
    x = batch[:, None, :]  # (examples, 1, features): a sequence of one element
    y = attention(x)

Use instead:

    x = batch.reshape(examples, length, features)
    y = attention(x)

A context that is one element, as the embedding of a class, needs no attention: `x + context @ w` does the
same.

## What it does not say
Single rows with one key, as the first one under a causal mask, are right. Where queries, keys and values are
one layer, a part of whose gradient is zero, it is a warning.

## Source
The derivative of a softmax over one number is 0.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Attention, Measurement, Severity
from gradscope.rules.base import Hit, Limits, rule


@rule("one-key-attention", severity=Severity.ERROR)
def one_key_attention(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    del limits
    silent = {layer.name for layer in measurement.layers if layer.gradient_max == 0}
    for each in measurement.attentions:
        still = [name for name in (each.query, each.key) if name in silent]
        both = bool(still) and {each.query, each.key} <= silent
        if each.heads and not each.looked_at and (both or each.keys == 1):
            yield _hit(each, tuple(dict.fromkeys(still)), both)


def _hit(attention: Attention, still: tuple[str, ...], both: bool) -> Hit:
    why = (
        "This attention has a single key"
        if attention.keys == 1
        else f"The mask of this attention leaves a single one of its {attention.keys:,} keys to each of the "
        f"{attention.rows:,} rows looked at"
    )
    names = " and ".join(f"`{name}`" for name in still)
    told = f": the gradient of {names} is exactly zero" if both else ""
    return Hit(
        message=f"{why}, whose weight is 1 whatever queries and keys are. They have no effect on the "
        f"loss{told}.",
        remedy=_remedy(attention)
        if attention.keys == 1
        else "Look at the mask: each query is to see more than one key.",
        evidence={"keys": attention.keys, "rows": attention.rows},
        layer=attention.query,
        source=attention.source,
        severity=None if both else Severity.WARNING,
        layers=still,
        explains=still,
    )


def _remedy(attention: Attention) -> str:
    if attention.queries is None or attention.queries == 1:
        return (
            "Look at the shapes that go into it: the axis over which the softmax runs is to count the "
            "elements of a sequence."
        )
    return (
        f"Look at what its {attention.queries:,} queries look at: it is to have more than one element. If a "
        "context of one element is meant, add its values and leave queries and keys out."
    )
