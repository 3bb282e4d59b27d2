"""The size of the outputs of layers over the depth of a network."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gradscope.records import Layer, Measurement, ShortTraining
from gradscope.rules.activations.another_start import tried
from gradscope.rules.base import Hit
from gradscope.rules.profile import PRODUCTS, steady_fall
from gradscope.rules.words import number


@dataclass(frozen=True, slots=True)
class _Trend:
    """Layers over which the size of the output changes steadily, in forward order."""

    layers: tuple[Layer, ...]
    total: float
    """Size of the last one over that of the first."""


def hits(
    measurement: Measurement, training: ShortTraining | None, ratio: float, change: str
) -> Iterator[Hit]:
    """Of a trend by `ratio`: the outputs `shrink` or `grow`."""
    found = _trend(measurement, ratio)
    if found is None:
        return
    first, last = found.layers[0], found.layers[-1]
    grave, outcome = tried(training)
    total = f"{number(found.total)} {'of it' if ratio < 1 else 'times'}"
    yield Hit(
        message=f"The outputs of the layers {change} from an rms of {number(first.activation_rms or 0)} at "
        f"`{first.name}` to {number(last.activation_rms or 0)} at `{last.name}`: {total} (limit "
        f"{number(ratio)}).{outcome}",
        remedy="Initialize with He (standard deviation sqrt(2/fan_in)) before a ReLU and with LeCun "
        "(1/sqrt(fan_in)) otherwise, or put a normalization (LayerNorm, BatchNorm) between the layers.",
        evidence={"total": found.total, "limit": ratio, "layers": len(found.layers)},
        layer=first.name,
        source=first.source,
        severity=grave,
        layers=tuple(layer.name for layer in found.layers),
    )


def _trend(measurement: Measurement, factor: float) -> _Trend | None:
    """Over which it changes by `factor`, below or above 1; one or two jumps are none.

    Of layers at the same depth the one with the largest output counts. The last layer is left out: a head may
    begin at any scale, and at 0.
    """
    deepest = max((layer.depth or 0 for layer in measurement.layers), default=0)
    best: dict[int, tuple[Layer, float]] = {}
    for layer in measurement.layers:
        rms, depth = layer.activation_rms, layer.depth
        if layer.op not in PRODUCTS or depth is None or depth == deepest or layer.uses > 1:
            continue
        if rms and math.isfinite(rms) and (depth not in best or rms > best[depth][1]):
            best[depth] = layer, rms
    found = [best[depth] for depth in sorted(best)]
    falls = _levels([rms for _, rms in found], -1.0 if factor < 1 else 1.0)
    fall = steady_fall(falls, abs(math.log(factor)))
    if fall is None:
        return None
    # The profile runs towards the loss: turned, for what shrinks on its way there.
    layers = tuple(layer for layer, _ in (found[::-1] if factor < 1 else found))[fall.first : fall.last + 1]
    layers = layers[::-1] if factor < 1 else layers
    first, last = layers[0].activation_rms or 0.0, layers[-1].activation_rms or 0.0
    return _Trend(layers, last / first)


def _levels(sizes: Sequence[float], sign: float) -> list[float]:
    levels = [math.log(size) for size in sizes]
    return levels[::-1] if sign < 0 else levels
