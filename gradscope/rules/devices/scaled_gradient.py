"""The training step of the file makes the step of a multiple of the gradient of its loss.

## What it does
Reports a `train_step` of the file that gives exactly what its optimizer makes of the gradient of `loss_fn`
times the number of devices along an axis of the mesh, or divided by it. The optimizer is that of the training
state or of the optimizer object that the step takes, else the file's `optimizer`.

## Why is this bad
Gradients that are summed over replicas in the place of their mean are too large by the number of devices:
plain gradient descent takes a step that many times as long, and clipping and weight decay stand in another
ratio to them. On another number of devices the same program trains otherwise.

## How it is measured
The step is traced with the params of the file, the state of the optimizer that it has for it, or a new one,
and the first batch, and run once. Beside it the optimizer is given the gradient of `loss_fn` on the whole
batch, as JAX differentiates it, and multiples of it by the sizes of the axes of each `shard_map`. Params and
state after the step are compared, leaf by leaf.

## Limits
`apart = 0.01`: of what a step changes in a leaf; the step of the multiple is that near in every leaf, and the
step of the gradient itself is further from one than a tenth. It is a warning where the params alone would be
the same, as with Adam, and the state differs.

## Example
    loss, grads = jax.value_and_grad(loss_fn)(params, rows)      # inside shard_map: of this device's rows
    grads = jax.lax.psum(grads, "data")

Use instead:

    grads = jax.lax.pmean(grads, "data")

With `check_vma` on, JAX sums the gradient of parameters that all devices share by itself, and a `pmean` after
that changes nothing:

    loss, grads = jax.value_and_grad(lambda p: jax.lax.pmean(loss_fn(p, rows), "data"))(params)

## What it does not say
A step that differs in any other way (micro-batches, clipping of its own, another optimizer) is not judged,
nor one with random numbers, one without a `shard_map`, and one that takes no state of an optimizer. Where
clipping of the optimizer makes both steps the same, there is nothing to see.

## Source
Goyal et al. 2017, *Accurate, Large Minibatch SGD*, arXiv:1706.02677; JAX documentation, *Manual parallelism
with shard_map* (`check_vma`, and what the transpose of `pvary` is).
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Measurement, ScaledGradient, Severity
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import number

_AS_IT_IS = 0.1
"""As where the step is compared: nearer is the same."""


@rule("scaled-gradient", severity=Severity.ERROR, single_seed_suffices=True, apart=0.01)
def scaled_gradient(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    found = measurement.scaled_gradient
    if found is not None and found.apart <= limits["apart"]:
        yield _hit(found, limits["apart"])


def _hit(found: ScaledGradient, limit: float) -> Hit:
    axes = ", ".join(f'"{axis}"' for axis in found.axes)
    named = axes if len(found.axes) == 1 else f"({axes})"
    same = found.params_apart < _AS_IT_IS
    large = found.factor > 1
    return Hit(
        message=(
            f"`train_step` makes the step of {number(found.factor)} times the gradient: what it returns "
            f"differs by {number(found.apart)} of what a step changes from what your optimizer makes of "
            f"the gradient of the loss on the whole batch times {number(found.factor)}, and by "
            f"{number(found.apart_from_plain)} from what it makes of the gradient itself. There are "
            f"{found.devices} devices along {axes}."
            + (
                " The params after this step are the same, as the optimizer does not go by the size of the "
                "gradient; its state is not."
                if same
                else ""
            )
        ),
        remedy=(
            f"Average the gradients over the devices, `jax.lax.pmean(grads, {named})`. With `check_vma` on "
            "JAX sums the gradient of what all devices share by itself: there take the mean of the loss "
            f"inside of the function that is differentiated, `jax.lax.pmean(loss, {named})`, and leave the "
            "gradients as they are."
            if large
            else f"Something divides by the number of devices along {axes} twice: leave one of the means "
            "away."
        ),
        evidence={
            "factor": found.factor,
            "devices": found.devices,
            "apart": found.apart,
            "apart_from_plain": found.apart_from_plain,
            "params_apart": found.params_apart,
            "limit": limit,
        },
        source=found.source,
        severity=Severity.WARNING if same else None,
        explains=(),
    )
