"""Each device scales its gradient by a norm of what it has alone.

## What it does
Reports a norm inside a `shard_map` of the file's `train_step` by which gradients are scaled or clipped, that
each device computes of its own part of the gradient, or of the gradient of its own examples.

## Why is this bad
Where parameters are split over devices, clipping by the global norm means the norm of all parts together.
Computed of one part alone it is smaller and differs from device to device: each part is scaled by another
factor, and the step has another direction than the gradient. Parameters that every device holds whole drift
apart. Where devices have examples of their own, gradients that are clipped before their mean are not the
clipped gradient of the batch. Both depend on the number of devices.

## How it is measured
By the program: the root of a sum of squares down to one number, of arrays that depend on the batch and have
the shape of a parameter, which differs along an axis and scales such an array. The step runs once more on the
first batch, with the norm of each device, and with one norm for all: of all parts together, or the mean of
those of the examples. It is told where the norms differ and params or state after the step are then others.

## Limits
None: norms differ, and the step with them, or not. It is a warning where devices have examples of their own,
as this may be meant.

## Example
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))
    updates, state = optimizer.update(grads, state, params)      # inside shard_map: of this device's part

Use instead:

    squares = sum(jnp.sum(g ** 2) for g in jax.tree.leaves(grads))
    norm = jnp.sqrt(jax.lax.psum(squares, "model"))
    grads = jax.tree.map(lambda g: g * jnp.minimum(1.0, 1.0 / norm), grads)

Or clip outside of the `shard_map`, where JAX sees whole arrays. Parameters that every device holds whole
count once.

## What it does not say
Clipping that had no effect on the first batch is quiet. Norms in a loop, and those of a gradient that was put
into one long vector, are not seen; nor is a step without a `shard_map`, in which JAX computes the norm of the
whole.

## Source
Pascanu et al. 2013, *On the difficulty of training recurrent neural networks*, arXiv:1211.5063 (clipping by
the norm of the whole gradient); Shoeybi et al. 2019, *Megatron-LM*, arXiv:1909.08053.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import LocalNorm, Measurement, Severity
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import number


@rule("local-norm", severity=Severity.ERROR, single_seed_suffices=True)
def local_norm(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    del limits
    for found in measurement.local_norms:
        yield _hit(found)


def _hit(found: LocalNorm) -> Hit:
    axes = ", ".join(f'"{axis}"' for axis in found.axes)
    named = axes if len(found.axes) == 1 else f"({axes})"
    norms = f"{number(found.lowest)} to {number(found.highest)}"
    return Hit(
        message=(
            f"`train_step` scales gradients by a norm that each of the {found.devices} devices along {axes} "
            f"computes of its own part of the gradient: {norms}, and {number(found.together)} of all parts "
            f"together. Each part is scaled by another factor. With that one norm {found.changed:.0%} of the "
            "elements of params and state are others after the step."
            if found.parts
            else f"`train_step` scales gradients by a norm that each of the {found.devices} devices along "
            f"{axes} computes of the gradient of its own examples: {norms}. Each of these gradients is "
            "scaled by another factor, as the clipped gradient of the batch is not. With their mean, "
            f"{number(found.together)}, {found.changed:.0%} of the elements of params and state are others "
            "after the step."
        ),
        remedy=(
            "Sum the squares over the devices before the root, `jnp.sqrt(jax.lax.psum(squares, "
            f"{named}))`, with those of parameters that every device holds whole counted once; or clip "
            "outside of the `shard_map`."
            if found.parts
            else f"Bring the gradients together first, `grads = jax.lax.pmean(grads, {named})`, and clip "
            "then. If each device is meant to clip its own, ignore this rule."
        ),
        evidence={
            "devices": found.devices,
            "lowest_norm": found.lowest,
            "highest_norm": found.highest,
            "norm_together": found.together,
            "changed": found.changed,
        },
        source=found.source,
        severity=None if found.parts else Severity.WARNING,
        explains=(),
    )
