"""Compares the weights of layers with the initialization that keeps δ level."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from gradscope.records import Layer, Measurement, Number, Parameter
from gradscope.rules.profile import PRODUCTS, factor
from gradscope.rules.words import names_of

# He et al. 2015 (arXiv:1502.01852): a ReLU passes half of the units, so the variance doubles. The smooth
# relatives pass nearly the same share.
HALVING = frozenset({"relu", "relu6", "leaky_relu", "gelu", "silu", "swish", "softplus"})
SCALES = frozenset({"scale", "gamma", "gain", "g"})
"""Names of vectors that a layer multiplies by, and that start at 1."""
NEAR = 1.5
"""Weights within this factor of an initialization are called so: another draw of them changes nothing."""
USUAL = 2.0
DRAWN = {"He": "`jax.nn.initializers.he_normal()`", "LeCun": "`jax.nn.initializers.lecun_normal()`"}


@dataclass(frozen=True, slots=True)
class WeightScale:
    """The weights of several layers relative to one initialization scheme."""

    ratio: float
    """Median over the layers of measured over wanted rms."""
    scheme: str
    """`He` or `LeCun`."""
    layer: str
    """The layer furthest from its wanted rms."""
    measured: float
    wanted: float


def common_activation(layers: Sequence[Layer]) -> str | None:
    """The activation function that follows most of these layers."""
    seen = Counter(layer.activation for layer in layers if layer.activation)
    return seen.most_common(1)[0][0] if seen else None


def is_usual(scale: WeightScale) -> bool:
    """Whether the output is about as large as what goes in."""
    return 1 / USUAL < scale.ratio < USUAL


def weight_scale(measurement: Measurement, layers: Sequence[Layer]) -> WeightScale | None:
    """`None` if no layer is a matrix product with a known fan-in and finite, nonzero weights."""
    parameters = {parameter.name: parameter for parameter in measurement.parameters}
    halving = common_activation(layers) in HALVING
    found: list[tuple[float, str, float, float]] = []
    for layer in layers:
        if layer.op not in PRODUCTS or not layer.fan_in:
            continue
        measured = _kernel_rms(layer, parameters)
        wanted = math.sqrt((2.0 if halving else 1.0) / layer.fan_in)
        if math.isfinite(measured) and measured > 0:
            found.append((measured / wanted, layer.name, measured, wanted))
    if not found:
        return None
    worst = max(found, key=lambda one: abs(math.log(one[0])))
    return WeightScale(median(one[0] for one in found), "He" if halving else "LeCun", *worst[1:])


def started_otherwise(measurement: Measurement, layer: str) -> str:
    """What of a layer's start is not as usual, as the beginning of a remedy: a bias that it has and that is
    not 0, weights of another size. Empty where nothing is."""
    biases = names_of(nonzero_biases(measurement, layer))
    scale = weight_scale(measurement, [each for each in measurement.layers if each.name == layer])
    if scale is None or 1 / NEAR < scale.ratio < NEAR:
        return f"Start {biases} at 0" if biases else ""
    drawn = DRAWN[scale.scheme]
    return f"{f'Start {biases} at 0 and draw' if biases else 'Draw'} its weights from {drawn}"


def nonzero_biases(measurement: Measurement, layer: str) -> list[str]:
    """Names of the layer's biases that are not all 0."""
    return [bias.name for bias in biases_of(measurement, layer) if bias.weight_rms > 0]


def biases_of(measurement: Measurement, layer: str) -> list[Parameter]:
    """The layer's vectors, without those that are called a scale; of one layer of a stack none is known."""
    return [
        parameter
        for parameter in measurement.parameters
        if parameter.layer == layer
        and len(parameter.shape) == 1
        and re.split(r"[.\['\"\]]+", parameter.name.rstrip("]'\""))[-1] not in SCALES
    ]


def _kernel_rms(layer: Layer, parameters: dict[str, Parameter]) -> float:
    """rms of the largest matrix of the layer: biases, often zero, do not determine its gain.

    For one layer of a stack only the rms of all its weights is known.
    """
    kernels = [parameters[name] for name in layer.parameters if name in parameters]
    kernels = [kernel for kernel in kernels if len(kernel.shape) >= 2]
    largest = max(kernels, key=lambda kernel: kernel.size, default=None)
    return largest.weight_rms if largest and largest.layer == layer.name else layer.weight_rms


def growth(layers: Sequence[Layer]) -> float | None:
    """Geometric mean, per layer, of the growth of the outputs' rms on the way forward."""
    seen = [layer.activation_rms for layer in layers if layer.activation_rms]
    seen = [rms for rms in seen if math.isfinite(rms)]
    if len(seen) < 2:
        return None
    return factor((math.log(seen[-1]) - math.log(seen[0])) / (len(seen) - 1))


def stretch(layers: Sequence[Layer], scale: WeightScale | None) -> dict[str, Number]:
    """Evidence of both depth rules on the layers between which δ changes."""
    evidence: dict[str, Number] = {"first": layers[0].name, "last": layers[-1].name}
    forward = growth(layers)
    if forward is not None:
        evidence["activation_growth_per_layer"] = forward
    if scale is not None:
        evidence["weights_to_initialization"] = scale.ratio
    return evidence
