"""A result of a `shard_map` is declared the same on all devices, and each has another one.

## What it does
Reports a result whose `out_specs` leave out an axis of the mesh, under `check_vma=False`, although the
devices along that axis hold different values, and the loss depends on which of them is taken.

## Why is this bad
JAX takes what the first device has. A loss that every device computes of its own rows and that no `pmean`
brings together is then the loss of a part of the batch: the number is wrong, and so is whatever is decided by
it. Its gradient may be right or wrong, as the transpose of `shard_map` sums or averages.

## How it is measured
The body of the `shard_map` runs once more with one row for each device, and the rows are compared element by
element. Then the loss is computed with the value of each device in the place of the first one's.

## Limits
`apart = 0.001`: of the largest element; sums in another order differ by less.

## Example
    jax.shard_map(loss, mesh=mesh, in_specs=(P(), P("data")), out_specs=P(), check_vma=False)

Use instead:

    def mean_loss(params, batch):
        return jax.lax.pmean(loss(params, batch), "data")

    jax.shard_map(mean_loss, mesh=mesh, in_specs=(P(), P("data")), out_specs=P())   # and leave the check on

## What it does not say
It looks at `shard_map`s that no loop, branch or other `shard_map` is around, and at floating results. Whether
the gradient is right is for `gradscope verify`. A mesh of one device has nothing to disagree on.

## Source
JAX documentation, *Manual parallelism with shard_map* (`check_vma`, outputs declared replicated).
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Measurement, Severity, UnreducedShard
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import number


@rule("unreduced-shard", severity=Severity.ERROR, single_seed_suffices=True, apart=1e-3)
def unreduced_shard(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    for found in measurement.unreduced:
        if found.apart > limits["apart"]:
            yield _hit(found, limits["apart"])


def _hit(found: UnreducedShard, limit: float) -> Hit:
    axes = ", ".join(f'"{axis}"' for axis in found.axes)
    named = axes if len(found.axes) == 1 else f"({axes})"
    return Hit(
        message=(
            f"A result of this `shard_map` is declared the same on all {found.devices} devices along {axes} "
            f"(`out_specs` leave it out, and `check_vma=False` keeps JAX from looking). {found.differing} of "
            "them have another value than the first, which is the one that comes out: the loss is "
            f"{number(found.loss)}, and {number(found.lowest)} to {number(found.highest)} with the values of "
            "the others."
        ),
        remedy=(
            f"Bring them together in the body, `jax.lax.pmean(x, {named})` for a mean or `psum` for a sum, "
            "and take `check_vma=False` away: JAX then refuses what is not."
        ),
        evidence={
            "devices": found.devices,
            "differing": found.differing,
            "apart": found.apart,
            "lowest_loss": found.lowest,
            "highest_loss": found.highest,
            "limit": limit,
        },
        source=found.source,
        explains=(),
    )
