"""The loss is the sum over devices of the mean of each, and grows with their number.

## What it does
Reports a term of the loss that is a mean over the examples of one device, summed over the devices of a
`shard_map`, and not divided by how many these are.

## Why is this bad
The loss and its gradient are then as many times those of the batch as there are devices. On another number of
devices the same program has another loss: learning rate, weight decay and clipping that were right on 8 are
not on 64, and curves of two runs cannot be compared.

## How it is measured
By the program: a sum of all elements of an array that has a row for each example of the device, divided by
the number of its elements or rows; a `psum` of that along the axis over which the examples are split; and
sums and multiples from there to the loss, none of which divides by the number of devices.

## Limits
None: it is what the program computes.

## Example
    loss = jnp.mean((predict(params, x) - y) ** 2)          # of this device's rows
    return jax.lax.psum(loss, "data")

Use instead:

    return jax.lax.pmean(loss, "data")

## What it does not say
A sum over all examples (no mean at all) is a loss of its own kind, and grows with the batch. Where a divisor
may be the number of all examples of the batch, nothing is said; nor of means in a loop, of those that the
program counts itself (a mask), and of what comes out of the `shard_map` as a row for each device and is
summed outside.

## Source
Goyal et al. 2017, *Accurate, Large Minibatch SGD*, arXiv:1706.02677 (section 3: the loss of each worker is to
be divided by the number of examples of all).
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Measurement, Severity, SummedLoss
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import count


@rule("summed-loss", severity=Severity.WARNING, single_seed_suffices=True)
def summed_loss(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    del limits
    for found in measurement.summed_losses:
        yield _hit(found)


def _hit(found: SummedLoss) -> Hit:
    axes = ", ".join(f'"{axis}"' for axis in found.axes)
    named = axes if len(found.axes) == 1 else f"({axes})"
    return Hit(
        message=(
            f"The mean over the {count(found.examples, 'example')} of each device is summed over the "
            f"{found.devices} devices along {axes}, and nothing divides it by {found.devices} on its way "
            f"to the loss: this term and its gradient are {found.devices} times those of the mean over the "
            "batch, and grow with the number of devices."
        ),
        remedy=(
            f"Average over the devices: `jax.lax.pmean(loss, {named})` in the place of `psum`. If the "
            "learning rate was found with the sum, divide what depends on the size of the loss and its "
            "gradient, too."
        ),
        evidence={"devices": found.devices, "examples": found.examples},
        source=found.source,
        explains=(),
    )
