"""A triangular mask hides the past: each place of a sequence sees itself and what comes later.

## What it does
Notes a model whose attention is masked so that no query sees an earlier place, while some see later ones.

## Why is this bad
A model that reads from left to right is to see the past. `jnp.triu` in the place of `jnp.tril`, or a
condition that is inverted, gives the opposite, and only what needs the past tells: the loss still falls.

## How it is measured
Of the scores as they go into the softmax: those below -5000, and far below all others, are hidden. Only
attention with as many queries as keys is looked at. Of a large attention a part of the rows is looked at, at
even distances.

## Limits
None: not one of the rows sees an earlier place.

## Example
    mask = jnp.triu(jnp.ones((n, n), bool))
    weights = jax.nn.softmax(jnp.where(mask, scores, -1e9))

Use instead:

    mask = jnp.tril(jnp.ones((n, n), bool))
    weights = jax.nn.softmax(jnp.where(mask, scores, -1e9))

## What it does not say
Whether it is meant: a model that reads from right to left has this mask. It is therefore a note, and nothing
is said where another attention of the model sees the past, as in a model that reads both ways.

## Source
Jahan et al. 2025 on faults in attention (inverted masks).
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Measurement, Severity
from gradscope.rules.base import Hit, Limits, rule


@rule("hidden-past", severity=Severity.NOTE)
def hidden_past(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    del limits
    masked = [each for each in measurement.attentions if each.forward or each.backward]
    if not masked or any(each.backward for each in masked):
        return
    first = masked[0]
    more = (
        "" if len(masked) == 1 else f" The same holds for {len(masked) - 1} more, and no other sees the past."
    )
    yield Hit(
        message=f"The mask of this attention hides what came before: none of the {first.rows:,} rows looked "
        f"at sees an earlier place, {first.forward:,} see later ones.{more}",
        remedy="If the model reads from left to right, the mask is upside down: `jnp.tril` for `jnp.triu`. "
        "If it reads from right to left, all is well.",
        evidence={
            "forward": first.forward,
            "rows": first.rows,
            "keys": first.keys,
            "attentions": len(masked),
        },
        layer=first.query,
        source=first.weighed,
    )
