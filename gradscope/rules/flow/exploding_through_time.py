"""δ of a recurrent state grows at every step back in time, so the gradient is dominated by early steps.

## What it does
Follows δ = ∂L/∂h of the state h of a loop (an RNN through `lax.scan`) from the last step back to the first
and reports a steady growth by a factor of a thousand or more.

## Why is this bad
The weights of a loop are shared, so their gradient is a sum over all steps, which the earliest steps then
dominate. Its size can change by orders of magnitude from batch to batch; the loss shows cliffs and spikes,
and may become NaN. Longer sequences make it worse exponentially.

## How it is measured
By the norm of δ of the carried state at every step of the loop, in one backward pass; the largest against
the one at the last step that the loss depends on.

## Limits
- `ratio = 1e3`: the largest δ over δ at the end, the same factor as over depth.
- Steady: half of the factor (in powers) must be left without the largest single step, a quarter without
  the two largest, and each half of the steps must grow by `ratio ** 0.25` = 5.6. Losses summed over T steps
  grow in proportion to T even in a perfect memory, which only doubles δ over the earlier half.
- `steps = 8`: as in `vanishing-through-time`.

## Example
    w = 2.0 * jax.random.normal(key, (64, 64)) / 8        # spectral radius about 2
    h = h @ w + x @ u                                     # 60 steps

Use instead:

    w = jax.nn.initializers.orthogonal()(key, (64, 64))   # all singular values 1

## What it does not say
A steady growth of less than the limit, as by 1.1 a step over 60 steps (300), is left to clipping, which is
usual for recurrent networks. A loop that is chaotic on purpose (a simulated physical system) does
explode: where a step adds to the state, or no weights mix it, the remedy is a shorter or truncated window
over which it is differentiated, and not another initialization.

## Source
Bengio et al. 1994; Pascanu et al. 2013, arXiv:1211.5063 (cliffs, clipping); Saxe et al. 2014,
arXiv:1312.6120 (orthogonal weights); Metz et al. 2021, *Gradients are not all you need*, arXiv:2111.05803.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from gradscope.records import Measurement, Recurrence, Severity
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.profile import (
    PRODUCTS,
    TOLERANCE,
    Fall,
    factor,
    steady_fall,
    time_profile,
    worst_of_each_loop,
)
from gradscope.rules.words import names_of, number

GROWN = 10
"""The growth of δ over the horizon that the remedy names."""


@rule(
    "exploding-through-time",
    severity=Severity.ERROR,
    symptom_of=("non-finite",),
    measure="total",
    ratio=1e3,
    steps=8,
)
def exploding_through_time(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    growth = math.log(limits["ratio"])
    found: list[tuple[Recurrence, float, Hit]] = []
    for recurrence in measurement.recurrences:
        steps = time_profile(recurrence)
        if steps is None or steps.end + 1 < limits["steps"]:
            continue
        peak = steps.levels.index(max(steps.levels))
        levels = [-level for level in steps.levels[peak:]]
        rise = steady_fall(levels, growth)
        if rise is not None and _in_both_halves(levels, growth / 4):
            hit = _hit(measurement, recurrence, rise, steps.start + peak, limits["ratio"])
            found.append((recurrence, 1 / float(hit.evidence["total"]), hit))
    yield from worst_of_each_loop(found)


def _in_both_halves(levels: Sequence[float], least: float) -> bool:
    middle = len(levels) // 2
    return min(levels[middle] - levels[0], levels[-1] - levels[middle]) >= least - TOLERANCE


def _settled_norm(measurement: Measurement, recurrence: Recurrence, total: float) -> float:
    """The global gradient norm without the growth: as is for layers above the loop."""
    inside = [
        one.depth for one in measurement.layers if one.name in recurrence.layers and one.depth is not None
    ]
    top = max(inside, default=-1)
    parts = [
        one.gradient_norm if one.depth is not None and one.depth > top else one.gradient_norm / total
        for one in measurement.layers
    ]
    return math.hypot(*parts)


def _remedy(measurement: Measurement, recurrence: Recurrence, per_step: float) -> str:
    ops = [layer.op for layer in measurement.layers if layer.name in recurrence.layers]
    if not recurrence.added and any(op in PRODUCTS for op in ops):
        return (
            f"Initialize the recurrent weights as orthogonal, or divide them by {number(per_step)} so that "
            "their largest eigenvalue is about 1."
        )
    horizon = max(1, round(math.log(GROWN) / math.log(per_step)))
    state = "A step adds to the state, as in a simulation" if recurrence.added else "No weights mix the state"
    return (
        f"{state}: differentiate a shorter horizon (δ grows {GROWN:g} times in {horizon} steps), or truncate "
        f"it, `state = jnp.where(i % {horizon} == 0, jax.lax.stop_gradient(state), state)`. If a stiff force "
        "or a contact makes it grow, soften it or take smaller steps; if weights do, scale them down."
    )


def _hit(measurement: Measurement, recurrence: Recurrence, rise: Fall, peak: int, limit: float) -> Hit:
    per_step, total = 1 / rise.ratio, factor(rise.total)
    clip = _settled_norm(measurement, recurrence, total)
    advice = (
        f" Until then, clip with `optax.clip_by_global_norm({number(float(f'{clip:.1g}'))})`: about the norm "
        "of the gradient without this growth."
        if math.isfinite(clip) and clip > 0
        else ""
    )
    return Hit(
        message=(
            f"The gradient at the state of `{recurrence.name}` (δ) grows {number(per_step)} times a step "
            f"back in time: at step {peak + 1} of {recurrence.length:,} it is {number(total)} times its last "
            f"value (limit {number(limit)}). Layers in the loop: {names_of(recurrence.layers) or 'none'}."
        ),
        remedy=f"{_remedy(measurement, recurrence, per_step)}{advice}",
        evidence={
            "growth_per_step": per_step,
            "total": total,
            "limit": limit,
            "step": peak + 1,
            "length": recurrence.length,
            "recurrence": recurrence.name,
        },
        layer=recurrence.layers[0] if recurrence.layers else None,
        source=recurrence.source,
        layers=recurrence.layers,
        explains=recurrence.layers,
    )
