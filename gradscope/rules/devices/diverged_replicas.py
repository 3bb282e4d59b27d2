"""An array is declared the same on several devices, and they do not hold the same bits.

## What it does
Reports a parameter, or an array of the batch, whose sharding says that devices hold copies of the same
values, and whose copies differ.

## Why is this bad
JAX takes the first copy for the array and never compares it with the others. Each device computes with its
own: the loss of one step then belongs to several networks, gradients that are summed over devices are those
of none of them, and what is printed or saved is the first device's. Data-parallel training drifts apart
without an error.

## How it is measured
Each device sums the words of its own copy, two sums modulo 2^32, and those are compared: no array is moved.
`gradscope check` looks before it measures, `gradscope monitor` before the first step, about twenty times on
the way and after the last step. Where the file has a `train_step` for several devices, `check` looks at the
params after one step of it, too. Where sums differ, the two copies are compared element by element.

## Limits
None: copies are equal bit for bit, or they are not.

## Example
    shards = [init(jax.random.fold_in(key, i)) for i, device in enumerate(devices)]   # a key for each device
    params = jax.make_array_from_single_device_arrays(shape, NamedSharding(mesh, P()), shards)

Use instead:

    params = jax.device_put(init(key), NamedSharding(mesh, P()))   # one array, copied

## What it does not say
Why they differ: different keys, a `shard_map` with `check_vma=False` whose result is not the same on all
devices, a restored checkpoint of one device, or broken hardware. It compares the devices of one process;
copies in other processes are not looked at. Equal sums of different copies are possible, one in 2^64.

## Source
JAX documentation, *Distributed arrays and automatic parallelization* (replicated shardings) and
`jax.make_array_from_single_device_arrays` (the shards are not checked).
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import DivergedReplicas, Measurement, Severity
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import count, number


@rule("diverged-replicas", severity=Severity.ERROR, single_seed_suffices=True)
def diverged_replicas(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    del limits
    for found in measurement.diverged:
        yield _hit(found)


def _hit(found: DivergedReplicas) -> Hit:
    axes = ", ".join(f'"{axis}"' for axis in found.axes)
    along = f" along {axes}" if axes else ""
    apart = "" if found.apart is None else f", by up to {number(found.apart)} of the largest element"
    when = "" if found.step is None else f" before step {found.step:,}"
    when = " after one step of `train_step`" if found.own_step else when
    return Hit(
        message=(
            f"`{found.name}` is declared the same on {count(found.devices, 'device')}{along}, and "
            f"{found.differing} of them {'holds' if found.differing == 1 else 'hold'} other bits than the "
            f"first that has the same part{when}: {found.elements:,} of {count(found.size, 'element')} "
            f"differ{apart} in the first of these. Each device computes with its own copy."
        ),
        remedy=(
            "Bring the gradients together before they are used, `jax.lax.pmean(grads, axis)`, and take "
            "`check_vma=False` away: JAX then refuses a result that is not the same."
            if found.own_step
            else "Make it once and copy it: `jax.device_put(value, NamedSharding(mesh, P()))`. If a "
            "`shard_map` makes it, take `check_vma=False` away: JAX then refuses a result that is not the "
            "same."
        ),
        evidence={
            "devices": found.devices,
            "differing": found.differing,
            "elements": found.elements,
            **({} if found.apart is None else {"apart": found.apart}),
            **({} if found.step is None else {"step": found.step}),
        },
        parameter=found.name,
        explains=(),
    )
