"""Scores of an attention are not divided by the root of their width, and its softmax is a hard choice.

## What it does
Reports attention whose scores are not scaled down and of which most rows give nearly all of their weight to a
single position.

## Why is this bad
A score is a sum of as many products as a head has dimensions, so its standard deviation is about the root of
that number. A softmax of such scores picks one position, whichever it is at the start, and its derivative is
nearly 0: queries and keys get little of the gradient.

## How it is measured
Attention is recognized by its operations: a product of two values of the model, numbers that it is multiplied
by, a mask, a softmax, and a product with a third value. The numbers have to make the scores at least twice as
large as 1 / sqrt(width) does; the weights are those of the measured batches. Of a large attention a part of
the rows is looked at, at even distances.

## Limits
`sharp = 0.5`: of the rows, the share that give more than 0.95 of their weight to one position. Source: a
choice; with the usual factor and initialization it is near 0.

## Example
    weights = jax.nn.softmax(q @ k.T)

Use instead:

    weights = jax.nn.softmax(q @ k.T / jnp.sqrt(q.shape[-1]))

## What it does not say
Attention without the factor whose weights are small enough (as in T5) is not sharp, and is not told. Scores
with a learned temperature or of normalized queries and keys are not judged here.

## Source
Vaswani et al. 2017, *Attention Is All You Need*, section 3.2.1; Zhai et al. 2023, *Stabilizing Transformer
Training by Preventing Attention Entropy Collapse*, arXiv:2303.06296.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Attention, Measurement, Severity
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import number

TIMES = 2.0
"""Scores that are so many times as large as a factor of 1 / sqrt(width) makes them."""
FEWEST_KEYS = 4
"""Below which a row has hardly a choice."""


@rule("unscaled-attention", severity=Severity.WARNING, sharp=0.5)
def unscaled_attention(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    sharp = [each for each in measurement.attentions if is_unscaled(each) and each.sharp >= limits["sharp"]]
    if not sharp:
        return
    worst = max(sharp, key=lambda each: each.sharp)
    factor, usual = worst.factor or 0.0, worst.width**-0.5
    more = "" if len(sharp) == 1 else f" The same holds for {len(sharp) - 1} more."
    yield Hit(
        message=f"The scores of this attention are sums of {worst.width} products times "
        f"{number(factor)}, where 1 / sqrt({worst.width}) = {number(usual)} keeps them near 1: "
        f"{number(100 * worst.sharp)} % of the {worst.looked_at:,} rows looked at give more than 0.95 of "
        f"their weight to a single position.{more}",
        remedy=f"Multiply the scores by {number(usual / factor)}, for 1 / sqrt(width) in all.",
        evidence={
            "width": worst.width,
            "factor": factor,
            "sharp": worst.sharp,
            "limit": limits["sharp"],
            "attentions": len(sharp),
        },
        layer=worst.query,
        source=worst.source,
    )


def is_unscaled(attention: Attention) -> bool:
    """By the numbers of the program."""
    factor = attention.factor
    wide = factor is not None and abs(factor) * attention.width**0.5 >= TIMES
    return wide and attention.keys >= FEWEST_KEYS and bool(attention.looked_at)
