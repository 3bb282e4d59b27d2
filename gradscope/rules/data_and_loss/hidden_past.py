"""A triangular mask hides the past: each place of a sequence sees itself and what comes later.

## What it does
Tells a model whose attention is masked so that no query sees an earlier place, while some see later ones.

## Why is this bad
A model that reads from left to right is to see the past. `jnp.triu` in the place of `jnp.tril`, or a
condition that is inverted, gives the opposite, and only what needs the past tells: the loss still falls.

## How it is measured
Of the scores as they go into the softmax: those below -5000, and far below all others, are hidden. Only
attention with as many queries as keys is looked at. Of a large attention a part of the rows is looked at,
at even distances. Then the model is trained with the masks turned over, from the same weights on the same
batches, five times as many steps as the short training has.

## Limits
Not one of the rows sees an earlier place. It is an error where the training with the masks turned over is
clearly better: it gains twice as much, or it ends at half of the loss or less, by at least 5 % of what it
gains. Else it is a note. A loss that falls by 1 % of itself or less with it is not better, nor one that
falls by less than a tenth of what it falls by without, unless it ends at half that share of its start or
less.

## Example
    mask = jnp.triu(jnp.ones((n, n), bool))
    weights = jax.nn.softmax(jnp.where(mask, scores, -1e9))

Use instead:

    mask = jnp.tril(jnp.ones((n, n), bool))
    weights = jax.nn.softmax(jnp.where(mask, scores, -1e9))

## What it does not say
A model that reads from right to left has this mask, and does not train better with another. Nothing is said
where another attention of the model sees the past, as in a model that reads both ways.

## Source
Jahan et al. 2025 on faults in attention (inverted masks).
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Measurement, Severity, ShortTraining, hides_the_past
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.variants import compared


@rule("hidden-past", severity=Severity.ERROR, uses=("training",))
def hidden_past(measurement: Measurement, training: ShortTraining | None, limits: Limits) -> Iterator[Hit]:
    del limits
    masked = hides_the_past(measurement.attentions)
    if not masked:
        return
    structure = measurement.structure
    first, tried = masked[0], structure.mirrored
    better = tried is not None and tried.better
    more = (
        "" if len(masked) == 1 else f" The same holds for {len(masked) - 1} more, and no other sees the past."
    )
    yield Hit(
        message=f"The mask of this attention hides what came before: none of the {first.rows:,} rows looked "
        f"at sees an earlier place, {first.forward:,} see later ones.{more}"
        f"{compared(tried, training, 'the mask turned over', structure.not_mirrored)}",
        remedy="The mask is upside down: `jnp.tril` for `jnp.triu`."
        if better
        else "If the model reads from left to right, the mask is upside down: `jnp.tril` for `jnp.triu`. "
        "If it reads from right to left, all is well.",
        evidence={
            "forward": first.forward,
            "rows": first.rows,
            "keys": first.keys,
            "attentions": len(masked),
        }
        | ({} if tried is None else {"loss_after": tried.end_without, "loss_after_mirrored": tried.end}),
        layer=first.query,
        source=first.mask or first.weighed,
        severity=Severity.ERROR if better else Severity.NOTE,
    )
