"""Weight decay also shrinks the scales and shifts of normalizations.

## What it does
Lists what scales or shifts normalized numbers, parameters of normalizations above all, and is pulled towards
0 by the optimizer's weight decay.

## Why is this bad
Decay keeps the weights of a product small. The scale of a normalization is meant to be near 1, and a layer in
front of a normalization can have any size: decay of the scale makes outputs, and with them what the layers
above can say, smaller than the data ask for. It is commonly left out.

## How it is measured
The optimizer is asked for its first step that moves anything, with made weights and a gradient of 0: a leaf
that moves towards 0 decays. A normalization is a factor for each unit whose module is called so, or which
stands behind a product with weights and whose output has the rms of the factor: then what it multiplies has
an rms of 1. Inputs are standardized as well, so that a factor of theirs is not taken for one.

## Limits
`share = 1e-6`: a step takes so much of each number at least, a tenth in 100,000 steps; below that it makes no
difference. `apart = 0.05`: of the two rms. Sources: choices. A note.

## Example
    optimizer = optax.adamw(1e-3, weight_decay=0.1)

Use instead, to decay matrices alone:

    mask = lambda params: jax.tree.map(lambda p: p.ndim > 1, params)
    optimizer = optax.adamw(1e-3, weight_decay=0.1, mask=mask)

## What it does not say
How much it costs: in many trainings it is little. Biases of other layers are not listed.

## Source
Loshchilov and Hutter 2019, *Decoupled Weight Decay Regularization*, arXiv:1711.05101; Goyal et al. 2017,
*Accurate, Large Minibatch SGD*, arXiv:1706.02677, and Jia et al. 2018, arXiv:1807.11205 (no decay on the
parameters of batch normalization).
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Layer, Measurement, Severity, ShortTraining
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.profile import PRODUCTS
from gradscope.rules.words import names_of, number


@rule("decayed-norm", severity=Severity.NOTE, needs=("flow", "training"), share=1e-6, apart=0.05)
def decayed_norm(measurement: Measurement, training: ShortTraining, limits: Limits) -> Iterator[Hit]:
    found: list[str] = []
    layers: list[str] = []
    shares: list[float] = []
    vectors = {each.name for each in measurement.parameters if sum(size > 1 for size in each.shape) < 2}
    first = min((layer.depth or 0 for layer in measurement.layers if layer.op in PRODUCTS), default=0)
    for layer in measurement.layers:
        if not (_is_called_so(layer) or _normalizes(layer, limits["apart"], first, vectors)):
            continue
        for name in layer.parameters:
            group = training.group_of(name)
            if group is not None and group.decayed and (group.decay or 1.0) >= limits["share"]:
                found.append(name)
                layers.append(layer.name)
                shares += [] if group.decay is None else [group.decay]
    if not found:
        return
    names = list(dict.fromkeys(found))
    taken = f": a step takes {number(max(shares))} of each number" if shares else ""
    yield Hit(
        message="Weight decay also pulls to 0 what scales or shifts normalized numbers, "
        f"{names_of(names)}{taken}.",
        remedy=(
            "Leave them out: `mask=lambda params: jax.tree.map(lambda p: p.ndim > 1, params)` decays "
            "matrices alone."
        ),
        evidence={
            "parameters": len(names),
            "limit": limits["share"],
            **({"share": max(shares)} if shares else {}),
        },
        layer=layers[0],
        parameter=names[0] if len(names) == 1 else None,
        layers=tuple(dict.fromkeys(layers)),
    )


def _is_called_so(layer: Layer) -> bool:
    return layer.op == "mul" and layer.size > 1 and "norm" in (layer.kind or "").lower()


def _normalizes(layer: Layer, apart: float, first: int, vectors: set[str]) -> bool:
    """A factor for each unit behind a product, of numbers that have an rms of 1."""
    if layer.op != "mul" or layer.size < 2 or (layer.depth or 0) <= first:
        return False
    rms = layer.activation_rms
    alike = rms is not None and layer.weight_rms > 0 and abs(rms / layer.weight_rms - 1) <= apart
    return alike and vectors.issuperset(layer.parameters)
