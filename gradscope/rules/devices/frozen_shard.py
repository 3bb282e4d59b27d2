"""A part of a parameter that lies on devices of its own gets no gradient.

## What it does
Reports a parameter that a `shard_map` splits over devices, of which some parts have a gradient of exactly 0
while others have one, although the loss depends on all of them.

## Why is this bad
Those parts stay as they were initialized: stages of a pipeline or blocks of columns that never learn, while
the gradient of the parameter as a whole looks healthy. A `stop_gradient` under a condition on the place of
the device, or a schedule that leaves a stage out of the backward pass, are how it happens.

## How it is measured
The gradient is taken on all measured batches, and twice around the weights of the file; a part is frozen
where it is exactly 0 each time. Then the loss is computed with those parts moved by a tenth of their size:
where it stays as it is, the batch does not use them, and nothing is told.

## Limits
None: exactly zero, and a loss that moves by more than rounding (1e-6).

## Example
    stage = jax.lax.axis_index("stage")
    w = jnp.where(stage < 2, w, jax.lax.stop_gradient(w))        # there are 4

Use instead:

    w = jnp.where(stage < 1, jax.lax.stop_gradient(w), w)        # only what is meant to be frozen

## What it does not say
Whether it is meant: stages may be frozen on purpose. Parameters that are frozen as a whole are
`blocked-gradient` or `zero-gradient`. It looks at parameters that come to a `shard_map` as they are, and not
inside of loops.

## Source
Huang et al. 2019, *GPipe*, arXiv:1811.06965 (gradients of all stages are those of the whole network); JAX
documentation, *Manual parallelism with shard_map*.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import FrozenShard, Measurement, Severity
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import number


@rule("frozen-shard", severity=Severity.WARNING, single_seed_suffices=True)
def frozen_shard(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    del limits
    for found in measurement.frozen_shards:
        yield _hit(found)


def _hit(found: FrozenShard) -> Hit:
    axes = ", ".join(f'"{axis}"' for axis in found.axes)
    places = ", ".join(map(str, found.frozen[:8])) + (", ..." if len(found.frozen) > 8 else "")
    return Hit(
        message=(
            f"`{found.parameter}` is split over the {found.parts} devices along {axes}, and on "
            f"{len(found.frozen)} of them (at {places}) its gradient is exactly 0, on all batches and "
            "around these weights, although the loss depends on these parts: moved by a tenth of their "
            f"size they give {number(found.moved)} instead of {number(found.loss)}."
        ),
        remedy=(
            "Look inside of this `shard_map` for a `stop_gradient`, a rounding or a choice that depends on "
            "`jax.lax.axis_index`. If these parts are frozen on purpose, ignore this rule."
        ),
        evidence={
            "parts": found.parts,
            "frozen": len(found.frozen),
            "loss": found.loss,
            "loss_with_parts_moved": found.moved,
        },
        parameter=found.parameter,
        source=found.source,
        explains=(),
    )
