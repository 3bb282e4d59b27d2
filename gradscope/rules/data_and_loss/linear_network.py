"""All layers together are one linear map: no activation function stands between them.

## What it does
Reports a network of two layers and more whose output is an affine function of the batch.

## Why is this bad
A chain of linear layers can be no more than a single one, however deep it is: what is no linear function of
the inputs is not learned.

## How it is measured
Read from the program: on every way from the batch to the last product with a weight there are only products
with weights, sums, sizes that are no function of the data, and other arrangements of the elements. Pooling by
a mean is linear, a maximum is not.

## Limits
None. Exact of the program; a warning, as a linear map may be what is wanted.

## Example
    h = x @ w1 + b1
    logits = h @ w2 + b2

Use instead:

    h = jax.nn.relu(x @ w1 + b1)
    logits = h @ w2 + b2

## What it does not say
A layer in between that is narrower than both ends restricts the map to a low rank, which may be meant (a
factorized matrix, a linear autoencoder), and is not told. An embedding that is looked up is no product: its
rows may be anything.

## Source
Humbatova et al. 2020, *Taxonomy of Real Faults in Deep Learning Systems* (missing activation); Schoop et al.
2021, *UMLAUT*.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Measurement, Severity
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.parts import source_of
from gradscope.rules.words import names_of


@rule("linear-network", severity=Severity.WARNING, single_seed_suffices=True)
def linear_network(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    layers = measurement.objective.linear_layers
    if len(layers) < 2:
        return
    recurrent = any(set(layers) & set(loop.layers) for loop in measurement.recurrences)
    yield Hit(
        message=f"No activation function stands between {names_of(layers)}: together they are one linear map "
        + (
            "of the whole sequence."
            if recurrent
            else "of their input, and can be no more than a single layer."
        ),
        remedy="Put an activation function between them, such as `jax.nn.relu`; "
        + (
            "where a linear recurrence is meant, as in a filter or a state space model, ignore this."
            if recurrent
            else "where a linear map is meant, a single layer is enough."
        ),
        evidence={"layers": len(layers)},
        layer=layers[0],
        source=source_of(measurement, layers[0]),
        layers=layers,
        explains=(),
    )
