"""δ shrinks layer by layer on its way back from the loss, so the first layers hardly learn.

## What it does
Follows δ = ∂L/∂z (how much the loss changes with the output z of a layer) from the last layer back to the
first and reports a steady decay to a thousandth or less.

## Why is this bad
The gradient of a weight is δ of its layer times the input of that layer. Where δ has decayed, the first
layers stay near their initialization while the last ones train on random features: the loss falls a little
and stops. A larger learning rate does not help, since it would have to differ by orders of magnitude between
layers. Adam's division by the gradient's own size hides the ratio, not the loss of information: rounding and
the noise of the batch weigh more the smaller δ is against them.

## How it is measured
By the *norm* of δ at each depth (the longest path from the input; of layers at the same depth the largest
counts). For z = W a with fan-in n, ‖δ_a‖² = ‖Wᵀ δ_z‖² ≈ n · var(W) · ‖δ_z‖². Initialized by fan-in,
n · var(W) is a constant, so the norm stays level whatever the widths, and batch size, loss scale and the
reduction over the batch cancel in the ratio. The rms of δ would not stay level: it changes with the width.

A fall counts only if no layer nearer to the input has a larger δ again (branches and bottlenecks dip and
recover). The finding names the layers from `last` back to `first` between which the decay happens, and a
likely cause, from the weights relative to He (ReLU) or LeCun (other) initialization, and the activation
function.

## Limits
- `ratio = 1e-3`: δ of the first layer over δ of the last one. Source: β1 = 1e-3 of AUTOTRAINER (Zhang et
  al. 2021, ICSE), which takes weight gradients; its second, absolute limit is left out as it changes with
  the scale of the loss.
- Steady: without its largest single step the ratio must still be at most `ratio ** 0.5`, without its two
  largest `ratio ** 0.25`. This was set by the networks below that must not be reported.
- A warning where the fall is no steeper than 0.65 a layer, not below 1e-5 in all, and the file's own
  optimizer makes steps of one size whatever the size of a gradient, as Adam. Source: plain ReLU networks of
  24 layers from LeCun initialization (0.7 a layer, 3e-4) learn under Adam as those from He do, those of 32
  layers (1.6e-5) in part, and of 40 (9e-7) hardly; under SGD those of 32 do not. A published graph network
  of 33 layers (2e-5) learns.
- `depths = 4`: with fewer, a decay cannot be distinguished from a jump. Three sigmoid layers reach 1/64 at
  the most.

## Example
    for w in params:                      # 20 layers
        x = jax.nn.sigmoid(x @ w)         # the derivative of sigmoid is at most 1/4

Use instead:

    for w in params:                      # He: w = normal(key, shape) * sqrt(2 / fan_in)
        x = jax.nn.relu(x @ w)

## What it does not say
It does not report one or two jumps (a policy head at 0.01 of its scale, a loss weight, global average
pooling), on exact zeros (a zero-initialized head or residual gain: `zero-gradient` looks at those), on
residual and normalized networks (level), and on shallow sigmoid networks. A plain ReLU network with LeCun
initialization loses a factor 0.71 a layer and is reported from 21 layers on, although it may train.
A network whose first layers get credit through a skip connection is not reported, even if δ decays along the
other path.

## Source
Hochreiter 1991, *Untersuchungen zu dynamischen neuronalen Netzen*; Glorot and Bengio 2010 (AISTATS); He et
al. 2015, arXiv:1502.01852; Schoenholz et al. 2017, *Deep Information Propagation*, arXiv:1611.01232.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from gradscope.records import Layer, Measurement, Severity, ShortTraining, Skipped
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.initial_scale import WeightScale, common_activation, stretch, weight_scale
from gradscope.rules.profile import depth_profile, factor, steady_fall, unmeasured
from gradscope.rules.words import number

# Below 0.8 of its scale a weight matrix loses a factor 1000 in 31 layers; estimates of rms from small
# matrices scatter by a tenth.
SMALL, LARGE = 0.8, 1.25
SQUASHING = frozenset({"logistic", "tanh"})


# PyTorch's default for sigmoid networks is 0.58 of LeCun, so below half it is the weights, not the sigmoid.
FAR_TOO_SMALL = 0.5
GENTLE, LEFT = 0.65, 1e-5
"""A fall a layer, and in all, that steps of one size make up for."""


@rule(
    "vanishing-gradient",
    severity=Severity.ERROR,
    symptom_of=("non-finite", "vanishing-through-time", "collapsed-representations"),
    measure="total",
    uses=("training",),
    ratio=1e-3,
    depths=4,
)
def vanishing_gradient(
    measurement: Measurement, training: ShortTraining | None, limits: Limits
) -> Iterator[Hit | Skipped]:
    profile = depth_profile(measurement)
    if why := unmeasured(measurement, profile, int(limits["depths"])):
        yield Skipped("vanishing-gradient", why)
    if len(profile) < limits["depths"]:
        return
    fall = steady_fall([level for _, level in profile], -math.log(limits["ratio"]))
    if fall is None:
        return
    layers = [layer for layer, _ in profile[fall.first : fall.last + 1]]
    first, last, total = layers[0], layers[-1], factor(-fall.total)
    scale = weight_scale(measurement, layers[1:])
    cause, remedy = _cause(layers, scale)
    made_up_for = fall.ratio >= GENTLE and total >= LEFT and _steps_of_one_size(training)
    may = " Your optimizer makes steps of one size whatever a gradient's, so that it may learn all the same."
    yield Hit(
        message=(
            f"The gradient at a layer's output (δ) shrinks to {number(fall.ratio)} of itself at each "
            f"layer from `{last.name}` back to `{first.name}`: {number(total)} of it is left there "
            f"(limit {number(limits['ratio'])}). {cause}{may if made_up_for else ''}"
        ),
        remedy=remedy,
        evidence={
            "decay_per_layer": fall.ratio,
            "total": total,
            "limit": limits["ratio"],
            **stretch(layers, scale),
        },
        layer=first.name,
        source=first.source,
        severity=Severity.WARNING if made_up_for else None,
        layers=tuple(layer.name for layer in layers),
        explains=tuple(layer.name for layer in measurement.layers if (layer.depth or 0) <= (last.depth or 0)),
    )


def _steps_of_one_size(training: ShortTraining | None) -> bool:
    """Of the problem's own optimizer, in all that it trains."""
    groups = () if training is None else training.groups
    trained = [group for group in groups if group.transform != "frozen"]
    return bool(trained) and all(group.transform == "fixed" for group in trained)


def _cause(layers: Sequence[Layer], scale: WeightScale | None) -> tuple[str, str]:
    function = common_activation(layers)
    if function == "logistic" and (scale is None or scale.ratio >= FAR_TOO_SMALL):
        return (
            "The derivative of the sigmoid is at most 1/4.",
            "Replace the sigmoid by ReLU or GELU and initialize with He (standard deviation sqrt(2/fan_in)), "
            "or put a normalization before it and a residual connection around it.",
        )
    if scale is not None and scale.ratio < SMALL:
        return (
            f"The weights are too small: {number(scale.ratio)} of {scale.scheme} initialization.",
            f"Start from {scale.scheme} initialization: standard deviation {number(scale.wanted)} for "
            f"`{scale.layer}`, which has {number(scale.measured)}.",
        )
    if function in SQUASHING and scale is not None and scale.ratio > LARGE:
        return (
            f"The weights are {number(scale.ratio)} times {scale.scheme} initialization, so `{function}` "
            "may be saturated, where its derivative is nearly zero.",
            f"Use a standard deviation of {number(scale.wanted)} for `{scale.layer}`, which has "
            f"{number(scale.measured)}, or normalize the input of `{function}`.",
        )
    return (
        "The weights have their usual size; the depth without skip connections may be the cause."
        if scale is not None
        else "No weights between these layers could be compared with an initialization.",
        "Add residual connections (x + f(x)) or a normalization (LayerNorm, BatchNorm) every second layer.",
    )
