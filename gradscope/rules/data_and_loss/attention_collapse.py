"""All heads of an attention look at a single key: the softmax is flat, and little comes back through it.

## What it does
Reports attention of which nearly every row, in every head, has hardly a second key.

## Why is this bad
The derivative of a softmax is 0 where one weight is 1. Queries and keys then get next to no gradient, so that
the attention stays as it is: which key it looks at was decided by the initialization.

## How it is measured
Of the weights of each head, as they meet the values: the entropy of a row, over that of equal weights for as
many keys as the mask leaves. Rows with a single visible key, as the first one under a causal mask, do not
count. Of a large attention a part of the rows is looked at, at even distances.

Where the gradient of both layers, of queries and of keys, is exactly zero, it is an error; else a warning.

## Limits
`decided = 0.9`: in every head at least this share of the rows has an entropy below 0.05. Source: a choice; it
was 0 in the healthy transformers of `tests/zoo`, and scores have to vary by hundreds for it.

## Example
    x = 255 * images  # queries and keys of raw pixels: scores of some thousands
    weights = jax.nn.softmax(q @ k.T / jnp.sqrt(width))

Use instead:

    weights = jax.nn.softmax(norm(q) @ norm(k).T / jnp.sqrt(width))

## What it does not say
A trained model may have learned to look at one key, in some heads or in all of a layer: what was measured is
then true, and no fault. Where the scores lack their usual factor,
[`unscaled-attention`](unscaled-attention.md) tells it. Weights that are equal for all keys are no finding: a
fresh model begins so.

## Source
Zhai et al. 2023, *Stabilizing Transformer Training by Preventing Attention Entropy Collapse*,
arXiv:2303.06296; Dehghani et al. 2023, *Scaling Vision Transformers to 22 Billion Parameters*,
arXiv:2302.05442 (normalized queries and keys).
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Attention, Measurement, Severity
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.data_and_loss.unscaled_attention import is_unscaled
from gradscope.rules.words import number

FEWEST_ROWS = 16
"""Of each head."""


@rule("attention-collapse", severity=Severity.ERROR, decided=0.9)
def attention_collapse(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    found = [each for each in measurement.attentions if _collapsed(each, limits["decided"])]
    if not found:
        return
    worst = min(found, key=lambda each: each.slope)
    least = min(head.decided for head in worst.heads)
    score = worst.largest_score
    large = "" if score is None else f" The largest score is {number(score)}."
    heads = "" if len(worst.heads) == 1 else f", in each of its {len(worst.heads)} heads"
    more = "" if len(found) == 1 else f" The same holds for {len(found) - 1} more."
    silent = {layer.name for layer in measurement.layers if layer.gradient_max == 0}
    both = dict.fromkeys(name for each in found for name in (each.query, each.key) if name is not None)
    still = tuple(name for name in both if name in silent)
    zero = {worst.query, worst.key} <= silent
    gone = " The gradient of queries and keys is exactly zero." if zero else ""
    yield Hit(
        message=f"{_share(least)} of the rows of weights have hardly a second key{heads}. "
        f"Their mean entropy is {number(100 * worst.entropy)} % of that of equal weights, and the "
        f"derivative of the softmax {number(100 * worst.slope)} % of what it is there.{large}{gone}{more}",
        remedy="Normalize queries and keys before their product (`q / rms(q)`, as `nnx.MultiHeadAttention` "
        "does with `normalize_qk=True`), or what comes into them. If these weights are trained, they may be "
        "meant.",
        evidence={
            "decided": least,
            "limit": limits["decided"],
            "entropy": worst.entropy,
            "slope": worst.slope,
            "attentions": len(found),
        },
        layer=worst.query,
        source=worst.source,
        severity=Severity.ERROR if zero else Severity.WARNING,
        layers=still,
        explains=still,
    )


def _collapsed(attention: Attention, decided: float) -> bool:
    heads = attention.heads
    enough = bool(heads) and all(head.rows >= FEWEST_ROWS for head in heads)
    return enough and not is_unscaled(attention) and all(head.decided >= decided for head in heads)


def _share(least: float) -> str:
    return "All" if least == 1 else f"{number(100 * least)} % or more"
