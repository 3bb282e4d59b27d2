"""The units of a layer start equal and stay equal: the layer is no more than one unit.

## What it does
Reports weights whose columns (or rows) are equal to each other before the first step, get equal gradients,
and are still equal, bit for bit, after the steps of the short training.

## Why is this bad
Units with the same weights compute the same and get the same gradient, so no step tells them apart: a hidden
layer of 128 such units is one unit, copied. The loss falls a little, and then stays.

## How it is measured
Exactly: all columns, or all rows of a matrix, or all output channels of a kernel, before and after the short
training, and the gradient of its last step. Weights that did not move are left out. Units are hidden ones: as
many of them have to be equal in two parameters, the weights into them and those out of them.

## Limits
None: they are equal or they are not.

## Example
    w1 = jnp.ones((8, 128)) * 0.1

Use instead random weights, which break the symmetry:

    w1 = jax.nn.initializers.he_normal()(key, (8, 128))

## What it does not say
Constant weights are fine where the gradients differ: a zero-initialized head, a normalization's scale, a
branch that starts at 0. They are not reported, and neither is a layer that dropout tells apart.

## Source
Goodfellow, Bengio and Courville 2016, *Deep Learning*, section 8.4 (initial parameters need to break
symmetry); Humbatova et al. 2020, *Taxonomy of Real Faults in Deep Learning Systems*.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from gradscope.records import Severity, ShortTraining
from gradscope.records.training import layers_of
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import count, names_of


@rule("symmetric-units", severity=Severity.ERROR, needs=("training",), single_seed_suffices=True)
def symmetric_units(training: ShortTraining, limits: Limits) -> Iterator[Hit]:
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
