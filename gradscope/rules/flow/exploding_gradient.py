"""δ grows layer by layer on its way back from the loss, so the first layers get steps that are too large.

## What it does
Follows δ = ∂L/∂z (how much the loss changes with the output z of a layer) from the last layer back to the
first and reports a steady growth by a factor of a thousand or more.

## Why is this bad
The first layers get steps a thousand times larger than the last ones: the loss jumps, turns into NaN, or
stays high at every learning rate, because a rate small enough for the first layers is too small for the
last. The output is also far more sensitive to the first layers than to the last ones.

## How it is measured
As in `vanishing-gradient`, with the sign turned: by the norm of δ at each depth, which stays level under
initialization by fan-in whatever the widths, the batch size and the scale of the loss. A rise counts only if
no layer nearer to the input has a smaller δ again, up to the layer with the largest δ.

## Limits
- `ratio = 1e3`: the largest δ over δ of the last layer; the mirror of the limit of `vanishing-gradient`
  (AUTOTRAINER takes 70 on weight gradients; plain networks with BatchNorm start at growth 1.2 a layer, 38
  over 20 layers, and train).
- Steady: without its largest single step the ratio must still be at least `ratio ** 0.5`, without its two
  largest `ratio ** 0.25`.
- `depths = 4`: with fewer, growth cannot be distinguished from a jump.

## Example
    w = jax.random.normal(key, (256, 256))                        # 16 times too large

Use instead:

    w = jax.random.normal(key, (256, 256)) * jnp.sqrt(2 / 256)    # He initialization, for ReLU

## What it does not say
A loss that is large everywhere (a physics loss of 1e4, a sum over pixels) is not an explosion: δ is level.
Nor is a single jump: a loss weight, a temperature, a sum over positions. Clipping is mentioned with the
remedy because it keeps a run from diverging, but it shortens the steps of all layers alike. Plain
networks with BatchNorm of 40 layers and more do explode at initialization, and are reported (Yang et al.
2019).

## Source
Glorot and Bengio 2010 (AISTATS); He et al. 2015, arXiv:1502.01852; Philipp et al. 2017, *The exploding
gradient problem demystified*, arXiv:1712.05577; Yang et al. 2019, *A Mean Field Theory of Batch
Normalization*, arXiv:1902.08129. Clipping: Pascanu et al. 2013, arXiv:1211.5063.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradscope.records import Measurement, Severity, Skipped
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.initial_scale import WeightScale, growth, stretch, weight_scale
from gradscope.rules.profile import depth_profile, factor, steady_fall, unmeasured
from gradscope.rules.words import number

LARGE = 1.25


@rule(
    "exploding-gradient",
    severity=Severity.ERROR,
    symptom_of=("non-finite", "wrong-mode", "exploding-through-time"),
    measure="total",
    ratio=1e3,
    depths=4,
)
def exploding_gradient(measurement: Measurement, limits: Limits) -> Iterator[Hit | Skipped]:
    profile = depth_profile(measurement)
    if why := unmeasured(measurement, profile, int(limits["depths"])):
        yield Skipped("exploding-gradient", why)
    if len(profile) < limits["depths"]:
        return
    levels = [level for _, level in profile]
    peak = levels.index(max(levels))
    rise = steady_fall([-level for level in levels[peak:]], math.log(limits["ratio"]))
    if rise is None:
        return
    layers = [layer for layer, _ in profile[peak + rise.first : peak + rise.last + 1]]
    first, last, total = layers[0], layers[-1], factor(rise.total)
    # δ of `first` does not depend on its own weights, but on those of the layers above it.
    scale = weight_scale(measurement, layers[1:])
    cause, remedy = _cause(scale)
    forward = growth(layers)
    clip = _level_norm(measurement, levels[-1]) if forward is None or forward <= LARGE else ""
    how = f", `optax.clip_by_global_norm({clip})`," if clip else ""
    yield Hit(
        message=(
            f"The gradient at a layer's output (δ) grows {number(1 / rise.ratio)} times a layer from "
            f"`{last.name}` back to `{first.name}`, "
            f"{number(total)} times in all (limit {number(limits['ratio'])}). {cause}"
        ),
        remedy=f"{remedy} Clipping{how} only treats the symptom.",
        evidence={
            "growth_per_layer": 1 / rise.ratio,
            "total": total,
            "limit": limits["ratio"],
            **stretch(layers, scale),
        },
        layer=first.name,
        source=first.source,
        layers=tuple(layer.name for layer in layers),
        explains=tuple(layer.name for layer in measurement.layers if (layer.depth or 0) <= (last.depth or 0)),
    )


def _cause(scale: WeightScale | None) -> tuple[str, str]:
    if scale is not None and scale.ratio > LARGE:
        return (
            f"The weights are too large: {number(scale.ratio)} times {scale.scheme} initialization.",
            f"Start from {scale.scheme} initialization: standard deviation {number(scale.wanted)} for "
            f"`{scale.layer}`, which has {number(scale.measured)}.",
        )
    return (
        "The weights are not larger than usual; the depth or operations between the layers may be the cause."
        if scale is not None
        else "No weights between these layers could be compared with an initialization.",
        "Put a LayerNorm before each block and a residual connection around it; scale the last product of "
        "each residual branch by 1/sqrt(number of blocks).",
    )


def _level_norm(measurement: Measurement, level: float) -> str:
    """The global gradient norm with a level δ, to one digit; empty where unknown.

    It is meaningless where the activations grow as well, because the gradient contains their size.
    """
    parts = [0.0]
    for layer in measurement.layers:
        if layer.delta_norm and math.isfinite(layer.delta_norm) and math.isfinite(layer.gradient_norm):
            excess = max(0.0, math.log(layer.delta_norm) - level)
            parts.append(layer.gradient_norm * factor(-excess))
    norm = math.hypot(*parts)
    return number(float(f"{norm:.1g}")) if 0 < norm < math.inf else ""
