"""A mask hides every key from a place that others see: it gets the mean of all values, hidden ones included.

## What it does
Reports queries of a sequence that looks at itself which see no key at all, though other queries see theirs.

## Why is this bad
With a large negative number for what is hidden, the scores of such a row are all the same, and its softmax
gives the same weight to every key, also to those that the mask was to hide: with a causal mask the future,
with padding the fillers. The likely cause is a mask that is inverted, or off by one.

## How it is measured
Of the scores as they go into the softmax: a row whose scores all lie below -5000, and far below any that is
not hidden, sees nothing. Only attention with as many queries as keys is looked at. A place that no other
query sees is a filler, and may see nothing. Where all queries that see anything see the same keys, those that
see nothing are left out, as the fillers of a decoder that looks at an encoder of the same length. Of a large
attention a part of the rows is looked at, at even distances.

## Limits
None: each row counts.

## Example
    mask = jnp.tril(jnp.ones((n, n), bool), k=-1)  # the first place sees nothing
    weights = jax.nn.softmax(jnp.where(mask, scores, -1e9))

Use instead:

    mask = jnp.tril(jnp.ones((n, n), bool))
    weights = jax.nn.softmax(jnp.where(mask, scores, -1e9))

## What it does not say
Whether the loss reads what comes out at that place. Where weights are set to 0 after the softmax, by dropout
or by a mask, nothing is told. With `-jnp.inf` in the place of the number the row is NaN, and
[`non-finite`](non-finite.md) tells it.

## Source
The documentation of `jax.nn.softmax`, argument `where`; Jahan et al. 2025 on faults in attention (inverted
masks).
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Measurement, Severity
from gradscope.rules.base import Hit, Limits, rule


@rule("empty-attention-row", severity=Severity.WARNING)
def empty_attention_row(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    del limits
    found = [each for each in measurement.attentions if each.empty]
    if not found:
        return
    worst = max(found, key=lambda each: each.empty / each.rows)
    more = "" if len(found) == 1 else f" The same holds for {len(found) - 1} more."
    yield Hit(
        message=f"The mask hides all {worst.keys:,} keys from {worst.empty:,} of the {worst.rows:,} rows "
        "looked at, each of a place that others see. Such a row weighs all values alike, hidden ones "
        f"included.{more}",
        remedy="Let each place see itself: `jnp.tril(mask)` and not `k=-1`; and look whether the mask is "
        "inverted: `jnp.where(mask, scores, -1e9)` keeps what is true.",
        evidence={"empty": worst.empty, "rows": worst.rows, "keys": worst.keys, "attentions": len(found)},
        layer=worst.query,
        source=worst.weighed,
    )
