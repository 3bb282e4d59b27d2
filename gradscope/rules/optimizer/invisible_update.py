"""Rounding takes the updates away: they are too small to change the bits of the weights.

## What it does
Counts the elements whose bits stay as they were although the optimizer added something to them, and trains
the same steps once more with the weights kept in float32 to see what the rounding costs.

## Why is this bad
bfloat16 has 8 significant bits: near 1 its numbers lie 0.0078 apart, and whatever is smaller than half of
that is lost, at each step anew. The gradients are right, the loss may even fall a little through the few
elements that move, and no learning curve says why it is slow.

## How it is measured
In the short training each leaf is compared before and after a step, element by element, where it has a
gradient. *Arrived* is the inner product of what was added after rounding and what the optimizer asked for,
over the square of the latter. Both are exact. Then the same steps are taken with master weights: kept in
float32, rounded for the gradient only.

## Limits
`unchanged = 0.5`: of the elements with an update, the share that keeps its bits. `arrived = 0.5`: the share
of the update that arrives. A weight is lost if it is narrower than float32 and on the wrong side of both, and
is reported where lost weights hold most of the elements. `gain = 2`: it is an error where master weights
lower the loss by more than `gain` times as much in the same steps, otherwise a warning. Sources: choices. In
one network in bfloat16, 95 % and more of the updates of its matrices arrived with Adam at 0.001, and 6 to
11 % at 0.00005.

Where the optimizer's updates still grow (a warm-up), nothing is said.

## Example
    params = jax.tree.map(lambda p: p.astype(jnp.bfloat16), params)
    optimizer = optax.adam(5e-5)

Use instead weights in float32, which the loss casts where it computes:

    logits = model(jax.tree.map(lambda p: p.astype(jnp.bfloat16), params), x)   # params stay in float32

## What it does not say
That the loss would go on to fall as fast. Stochastic rounding, which keeps updates on average, is judged by
what arrives.

## Source
Micikevicius et al. 2018, *Mixed Precision Training*, section 3.1 (master weights in float32); Zamirai et al.
2020, *Revisiting BFloat16 Training* (nearest rounding cancels small updates).
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Intervention, LeafUpdate, Severity, ShortTraining
from gradscope.records.training import layers_of
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import count, names_of, number

REMEDY = (
    "Keep the parameters in float32 and cast them to {dtype} inside the loss, or use an optimizer that keeps "
    "master weights in float32."
)


@rule("invisible-update", severity=Severity.ERROR, needs=("training",), unchanged=0.5, arrived=0.5, gain=2.0)
def invisible_update(training: ShortTraining, limits: Limits) -> Iterator[Hit]:
    if not training.own or training.warming_up:
        return
    lost = [
        leaf
        for leaf in training.leaves
        if leaf.moved
        and leaf.gradient
        and _is_narrow(leaf)
        and leaf.unchanged_share > limits["unchanged"]
        and leaf.arrived_share < limits["arrived"]
    ]
    size = sum(leaf.size for leaf in training.leaves if leaf.moved and leaf.gradient)
    if 2 * sum(leaf.size for leaf in lost) <= size:
        return
    worst = max(lost, key=lambda leaf: leaf.size)
    tried = training.trial("master-weights")
    own = training.trial("none", steps=training.steps)
    yield Hit(
        message=_message(lost, worst, own, tried),
        remedy=REMEDY.format(dtype=worst.dtype),
        evidence={
            "unchanged_share": worst.unchanged_share,
            "arrived_share": worst.arrived_share,
            "limit": limits["unchanged"],
            "loss_before": training.start,
            "loss_after": training.end,
            **({} if tried is None else {"loss_after_with_master_weights": tried.end}),
        },
        layer=worst.layer,
        parameter=worst.name,
        severity=Severity.ERROR if _cured(own, tried, limits["gain"]) else Severity.WARNING,
        layers=layers_of(lost),
        explains=None,
    )


def _is_narrow(leaf: LeafUpdate) -> bool:
    """Updates that are lost in float32 are too small for any dtype: the learning rate is told."""
    return leaf.dtype not in ("float32", "float64")


def _cured(own: Intervention | None, tried: Intervention | None, gain: float) -> bool:
    if own is None or tried is None:
        return False
    return tried.fall > gain * max(own.fall, 0.0) and tried.fall > 0


def _message(
    lost: list[LeafUpdate], worst: LeafUpdate, own: Intervention | None, tried: Intervention | None
) -> str:
    text = (
        f"{worst.unchanged_share:.0%} of the elements of `{worst.name}` that your optimizer updates keep "
        f"their bits: {worst.dtype} rounds the updates away, and {max(worst.arrived_share, 0.0):.0%} of "
        "their length arrives."
    )
    if len(lost) > 1:
        names = [leaf.name for leaf in lost if leaf is not worst]
        text += f" So it is for {count(len(names), 'more parameter')}: {names_of(names)}."
    if own is not None and tried is not None:
        text += (
            f" {count(own.steps, 'step')} take the loss from {number(own.start)} to {number(own.end)}, and "
            f"to {number(tried.end)} with the weights kept in float32."
        )
    return text
