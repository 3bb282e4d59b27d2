"""Every device draws the same random numbers for its own examples.

## What it does
Reports a draw inside a `shard_map` whose key is the same on all devices along an axis over which the examples
of the batch are split, that has numbers for each example, and that meets the values of the examples.

## Why is this bad
Example 1 of every device gets the same dropout mask, the same noise and the same augmentation, and so does
example 2. With 8 devices there are 8 times fewer different masks in a batch than it seems, and the errors
that they cause do not average out over devices.

## How it is measured
By the program: whether the key depends on what differs between devices (an operand that is split along the
axis, `jax.lax.axis_index`), and whether the numbers meet, element by element, an array that does.

## Limits
None: it is what the program computes.

## Example
    def shard(params, x, key):                       # key: P(), the same on every device
        keep = jax.random.bernoulli(key, 0.9, x.shape)

Use instead:

    def shard(params, x, key):
        key = jax.random.fold_in(key, jax.lax.axis_index("data"))
        keep = jax.random.bernoulli(key, 0.9, x.shape)

## What it does not say
Whether it is meant: antithetic or common random numbers are drawn so on purpose. Rows of a value that was
computed from the batch are taken for examples where there are as many. Noise without numbers for each example
(of weights, one for the whole batch) is not looked at, nor is a draw outside of `shard_map`: there JAX draws
for the whole batch at once, and no two examples share numbers.

## Source
Srivastava et al. 2014, *Dropout* (a mask for each example); JAX documentation, *Pseudorandom numbers* and
*Manual parallelism with shard_map* (a key that is not split is the same on every device).
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Measurement, Severity, SharedNoise
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import shape_text


@rule("shared-noise", severity=Severity.WARNING, single_seed_suffices=True)
def shared_noise(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    del limits
    for found in measurement.shared_noise:
        yield _hit(found)


def _hit(found: SharedNoise) -> Hit:
    axes = ", ".join(f'"{axis}"' for axis in found.axes)
    index = f"jax.lax.axis_index({axes if len(found.axes) == 1 else f'({axes})'})"
    return Hit(
        message=(
            f"The random numbers {shape_text(found.shape)} that are drawn here are the same on all "
            f"{found.devices} devices along {axes}: nothing in their key differs between these. The examples "
            f"of the batch are split over them, {found.shape[0]} each, so that example 1 of each device gets "
            "the same numbers, and so does example 2."
        ),
        remedy=f"Give each device a key of its own: `key = jax.random.fold_in(key, {index})`.",
        evidence={"devices": found.devices, "examples": found.shape[0]},
        source=found.source,
        explains=(),
    )
