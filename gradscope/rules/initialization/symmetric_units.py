"""The units of a layer start equal and stay equal: the layer is no more than one unit.

## What it does
Reports weights whose columns (or rows) are equal to each other before the first step, get equal gradients,
and are still equal, bit for bit, after the steps of the short training. And layers one after the other all
of whose weights are 0, so that none of them ever gets a gradient.

## Why is this bad
Units with the same weights compute the same and get the same gradient, so no step tells them apart: a hidden
layer of 128 such units is one unit, copied. The loss falls a little, and then stays. Where the weights of two
layers in a row are 0, the later one gets nothing in and the earlier one no gradient back: only a bias behind
them ever moves.

## How it is measured
Exactly: all columns, or all rows of a matrix, or all output channels of a kernel, before and after the short
training, and the gradient of its last step. Weights that did not move are left out. Units are hidden ones: as
many of them have to be equal in two parameters, the weights into them and those out of them.

Of layers of zeros: every weight is exactly 0, and its gradient exactly 0 before and after some optimizer
steps. Of the earlier layers the output is exactly 0 and no δ = ∂L/∂z comes back to it; to the last one it
does.

## Limits
None: they are equal or they are not, and 0 or not.

## Example
    w1 = jnp.ones((8, 128)) * 0.1

Use instead random weights, which break the symmetry:

    w1 = jax.nn.initializers.he_normal()(key, (8, 128))

## What it does not say
Constant weights are fine where the gradients differ: a zero-initialized head, a normalization's scale, a
branch that starts at 0, the second matrix of an adapter: each has a layer before it whose output is not 0.
They are not reported, and neither is a layer that dropout tells apart.

## Source
Goodfellow, Bengio and Courville 2016, *Deep Learning*, section 8.4 (initial parameters need to break
symmetry); Humbatova et al. 2020, *Taxonomy of Real Faults in Deep Learning Systems*.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from gradscope.records import Connection, Layer, Measurement, Severity, ShortTraining
from gradscope.records.training import layers_of
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import count, names_of


@rule(
    "symmetric-units",
    severity=Severity.ERROR,
    needs=("training",),
    uses=("flow",),
    single_seed_suffices=True,
)
def symmetric_units(
    training: ShortTraining, measurement: Measurement | None, limits: Limits
) -> Iterator[Hit]:
    del limits
    if measurement is not None:
        yield from _zeros(measurement)
    yield from _equal(training)


def _zeros(measurement: Measurement) -> Iterator[Hit]:
    """Those with the last layer of zeros, to which a gradient still comes."""
    still = _still(measurement)
    inner = [each for each in still if each.delta_norm == 0 and each.activation_rms == 0]
    last = next((each for each in reversed(still) if each.delta_norm), None)
    if last is None or last.depth is None:
        return
    masked = {end.layer for end in measurement.gradient_ends if end.cleared}
    inner = [each for each in inner if each.depth is not None and each.depth < last.depth]
    inner = [each for each in inner if each.name not in masked]
    if not inner:
        return
    below = [
        layer.name
        for layer in measurement.layers
        if layer.gradient_max == 0 and layer.depth is not None and layer.depth < last.depth
    ]
    others = [name for name in below if name not in _names(inner)]
    more = f" {names_of(others)} {'gets' if len(others) == 1 else 'get'} none either." if others else ""
    first = names_of(_names(inner))
    yield Hit(
        message=f"All weights of {names_of(_names([*inner, last]))} are 0. What comes out of {first} is 0 "
        f"whatever goes in, so the weights of `{last.name}` get no gradient; and as these are 0, none goes "
        f"back to {first}. After some optimizer steps it is still so: no step moves these weights.{more}",
        remedy="Initialize the weights at random, as `jax.nn.initializers.lecun_normal()` does; of layers "
        "one after the other only one may start at 0.",
        evidence={"layers": len(inner) + 1, "weight_rms": 0.0, "gradient_max": 0.0},
        layer=inner[0].name,
        source=inner[0].source,
        layers=tuple(_names([*inner, last])),
        explains=tuple(dict.fromkeys([*below, *_names(inner), last.name])),
    )


def _still(measurement: Measurement) -> list[Layer]:
    """Layers all of whose weights are 0 and stay so, in forward order."""
    weights: dict[str, list[bool]] = {}
    for leaf in measurement.parameters:
        if leaf.connection is Connection.CONNECTED and leaf.size > 0 and len(leaf.shape) > 1:
            stays = leaf.weight_rms == 0 and leaf.gradient_max == 0 and leaf.nonzero_after_steps is False
            weights.setdefault(leaf.layer, []).append(stays)
    return [layer for layer in measurement.layers if all(weights.get(layer.name, [False]))]


def _names(layers: Sequence[Layer]) -> list[str]:
    return [layer.name for layer in layers]


def _equal(training: ShortTraining) -> Iterator[Hit]:
    counts = Counter(leaf.equal_units for leaf in training.leaves if leaf.equal_units)
    found = [leaf for leaf in training.leaves if counts[leaf.equal_units] > 1]
    if not found:
        return
    widest = max(found, key=lambda leaf: (leaf.equal_units, leaf.size))
    others = [leaf.name for leaf in found if leaf is not widest]
    more = f" So are those of {names_of(others)}." if others else ""
    yield Hit(
        message=f"All {widest.equal_units} units of `{widest.name}` are equal, get the same gradient, and "
        f"are still equal after {count(training.steps, 'step')}: they are one unit.{more}",
        remedy="Initialize the weights at random, as `jax.nn.initializers.lecun_normal()` does; constants "
        "are for biases and scales.",
        evidence={"units": widest.equal_units, "parameters": len(found), "steps": training.steps},
        layer=widest.layer,
        parameter=widest.name,
        layers=layers_of(found),
        explains=layers_of(found),
    )
