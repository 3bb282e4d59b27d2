"""The loss depends on which examples of the batch share a device.

## What it does
Reports a loss whose `shard_map` splits the examples of the batch over devices, that changes when examples are
exchanged between devices, and stays as it is when each device has its own in another order.

## Why is this bad
A loss that is a mean over the batch is the same however the examples are dealt. One that is not computes
something of the examples of one device alone: the mean and variance of a batch normalization are those of a
few rows, and a mean over the tokens that are not padding weighs a device with few of them as much as one with
many. The network is then trained by another loss on 8 devices than on 1, and results do not carry over.

## How it is measured
The flow pass runs twice more: with the examples of each device in another order, and with the examples dealt
to the devices one by one, in turn. Parameters and random numbers are the same.

## Limits
`change = 0.001`: of the loss, when examples are exchanged between devices. `rounding = 0.0001`: with each
device's own in another order it changes by less, and by a hundredth at most of the change between devices;
otherwise it depends on places (as dropout with its mask does), and nothing is said.

## Example
    mean = jnp.mean(h, axis=0)                                     # of this device's rows
    loss = jnp.sum(errors * mask) / jnp.sum(mask)                  # of this device's tokens
    return jax.lax.pmean(loss, "data")

Use instead:

    mean = jax.lax.pmean(jnp.mean(h, axis=0), "data")
    total, count = jax.lax.psum((jnp.sum(errors * mask), jnp.sum(mask)), "data")
    return total / count

## What it does not say
Whether it is meant: a contrastive loss with the negatives of one device, and a batch normalization that is
left to each device on purpose, are such losses. It looks at the arrays of the batch that come to a
`shard_map` as they are.

## Source
Ioffe and Szegedy 2015, *Batch Normalization*, arXiv:1502.03167 (statistics of a mini-batch); Wu and Johnson
2021, *Rethinking "Batch" in BatchNorm*, arXiv:2105.07576 (statistics by device).
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Measurement, Severity, ShardDependence
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import number


@rule(
    "shard-dependent-loss",
    severity=Severity.WARNING,
    single_seed_suffices=True,
    change=1e-3,
    rounding=1e-4,
)
def shard_dependent_loss(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    for found in measurement.dealt:
        moved, turned = abs(found.dealt - found.loss), abs(found.turned - found.loss)
        size = abs(found.loss) or abs(found.dealt)
        if moved > limits["change"] * size and turned <= min(limits["rounding"] * size, moved / 100):
            yield _hit(found, moved / size, limits["change"])


def _hit(found: ShardDependence, change: float, limit: float) -> Hit:
    axes = ", ".join(f'"{axis}"' for axis in found.axes)
    named = axes if len(found.axes) == 1 else f"({axes})"
    return Hit(
        message=(
            f"The loss depends on which of the {found.examples} examples share a device: dealt otherwise to "
            f"the {found.devices} devices along {axes} they give {number(found.dealt)} instead of "
            f"{number(found.loss)}, and with those of each device in another order {number(found.turned)}. "
            "Something is computed of the examples of one device alone, as the statistics of a batch "
            "normalization or a mean over the tokens that count may be."
        ),
        remedy=(
            f"Bring sums together before they divide: `jax.lax.pmean(x, {named})` for the mean and the mean "
            f"square of a normalization, `jax.lax.psum((total, count), {named})` for a mean over what "
            "counts. If each device is meant to have its own, ignore this rule."
        ),
        evidence={
            "devices": found.devices,
            "examples": found.examples,
            "change": change,
            "loss_dealt_otherwise": found.dealt,
            "loss_in_another_order": found.turned,
            "limit": limit,
        },
        source=found.source,
        explains=(),
    )
