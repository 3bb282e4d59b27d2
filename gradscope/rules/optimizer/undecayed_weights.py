"""Weight decay is on, and some weight matrices are left out of it.

## What it does
Lists the weight matrices that the optimizer trains without weight decay, while it decays others.

## Why is this bad
A mask that goes by names or by the number of axes easily misses a part: a layer that was renamed, a kernel
behind another module. Nothing fails, and that part grows where all others are held. It may well be meant.

## How it is measured
The optimizer is asked for its first step that moves anything, with made weights and gradients of 0: a leaf
that moves towards 0 decays, one that stays does not. A leaf that does not move for other gradients either is
frozen and not told here. Masks and labels are not read.

## Limits
`share = 1e-6`: a step takes so much of the decayed weights at least, a tenth in 100,000 steps; below that it
makes no difference. Source: a choice. A note.

## Example
    mask = lambda params: {"encoder": True, "decoder": False}     # meant: all but the biases
    optimizer = optax.adamw(1e-3, weight_decay=0.1, mask=mask)

Use instead:

    mask = lambda params: jax.tree.map(lambda p: p.ndim > 1, params)

## What it does not say
Biases, scales, tables of embeddings and single numbers are commonly left out and not listed. Whether decay
would help is not measured.

## Source
Optax documentation, `adamw` (`mask`) and `masked`; Loshchilov and Hutter 2019, *Decoupled Weight Decay
Regularization*, arXiv:1711.05101.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Measurement, Severity, ShortTraining
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.profile import PRODUCTS
from gradscope.rules.words import names_of, number


@rule("undecayed-weights", severity=Severity.NOTE, needs=("flow", "training"), share=1e-6)
def undecayed_weights(measurement: Measurement, training: ShortTraining, limits: Limits) -> Iterator[Hit]:
    decayed: list[str] = []
    left_out: list[str] = []
    shares: list[float | None] = []
    for name in matrices(measurement):
        group = training.group_of(name)
        if group is None:
            continue
        if group.decayed and (group.decay is None or group.decay >= limits["share"]):
            decayed.append(name)
            shares.append(group.decay)
        elif not group.decayed and group.decay == 0 and group.transform != "frozen":
            left_out.append(name)
    if not decayed or not left_out:
        return
    share = max((each for each in shares if each is not None), default=None)
    taken = "" if share is None else f" (a step takes up to {number(share)} of each weight)"
    owner = {parameter.name: parameter.layer for parameter in measurement.parameters}
    yield Hit(
        message=(
            f"Your optimizer decays {len(decayed)} weight {'matrix' if len(decayed) == 1 else 'matrices'}"
            f"{taken} and trains {names_of(left_out)} without decay."
        ),
        remedy=(
            "Nothing is to be done where they are left out on purpose; else correct the mask: "
            "`mask=lambda params: jax.tree.map(lambda p: p.ndim > 1, params)` decays every matrix."
        ),
        evidence={
            "decayed": len(decayed),
            "undecayed": len(left_out),
            "limit": limits["share"],
            **({} if share is None else {"share": share}),
        },
        layer=owner.get(left_out[0]),
        parameter=left_out[0] if len(left_out) == 1 else None,
        layers=tuple(dict.fromkeys(owner[name] for name in left_out if name in owner)),
    )


def matrices(measurement: Measurement) -> list[str]:
    """The largest leaf of each layer that is a product with the data, in forward order."""
    known = {parameter.name: parameter for parameter in measurement.parameters}
    found: list[str] = []
    for layer in measurement.layers:
        leaves = [known[name] for name in layer.parameters if name in known]
        if layer.op in PRODUCTS and leaves:
            weight = max(leaves, key=lambda leaf: leaf.size)
            found += [weight.name] if len(weight.shape) > 1 else []
    return list(dict.fromkeys(found))
