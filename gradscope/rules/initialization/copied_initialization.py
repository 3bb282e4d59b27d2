"""Several parameters start with the same random numbers: a PRNG key was used twice.

## What it does
Reports leaves of the params that are equal bit for bit and hold different numbers, as random ones do.

## Why is this bad
JAX's keys are values: whoever uses one twice draws the same numbers twice. Layers that start alike are less
diverse than they look, members of an ensemble are one member, and two critics that should disagree agree.

## How it is measured
Exactly, by comparing the leaves. Left out are constant leaves, leaves of fewer than 8 elements, leaves that
get no gradient (a target network is a copy on purpose), one array that is in the params twice (tied weights),
and numbers that were computed and not drawn, as the decays and time steps of state-space models: few
different ones, or neighbours that are close to each other along an axis (mean square of their differences
below half of the variance, where random numbers have twice the variance).

## Limits
None: they are equal or they are not.

## Example
    w1 = jax.random.normal(key, (64, 64))
    w2 = jax.random.normal(key, (64, 64))        # the same numbers

Use instead a key for each:

    k1, k2 = jax.random.split(key)
    w1, w2 = jax.random.normal(k1, (64, 64)), jax.random.normal(k2, (64, 64))

## What it does not say
That training fails: layers at different depths grow apart. Weights that were copied on purpose, from a
checkpoint or a twin, look the same.

## Source
JAX documentation, *Pseudorandom numbers* ("never reuse keys").
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Measurement, Severity
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import names_of


@rule("copied-initialization", severity=Severity.WARNING, single_seed_suffices=True)
def copied_initialization(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    layers = {parameter.name: parameter.layer for parameter in measurement.parameters}
    for names in measurement.copies:
        yield Hit(
            message=f"{names_of(names)} hold the same numbers, bit for bit.",
            remedy="Give each its own PRNG key, from `jax.random.split`. Where one was copied from the other "
            "on purpose, nothing is to be done.",
            evidence={"copies": len(names)},
            layer=layers.get(names[0]),
            parameter=names[0],
            layers=tuple(dict.fromkeys(layers[name] for name in names if name in layers)),
        )
