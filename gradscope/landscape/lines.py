"""The loss along lines, really measured: along the gradient, along negative curvature, along an update."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array

from gradscope.landscape.by_layer import LayerPlaces
from gradscope.landscape.products import Products
from gradscope.landscape.spectrum import End
from gradscope.records import CriticalStep, GradientStep, LinePoint, NegativeDirection

DISTANCES = 4
SLOW_S = 0.3
"""[seconds] of a product: above it every other distance is tried."""
APART = 4.0
"""Each distance over the one before."""
SEEN = 30.0
"""Times the rounding of the loss: what the quadratic model predicts at the first distance."""
SHORT = 1e-3
"""The first distance where the loss is zero, and has no rounding."""
ROUNDING = 8.0
"""Spacings of numbers by which the same loss may differ."""
FACTORS = tuple(4.0**power for power in range(-8, 6))
HALVINGS = 3


def noise_of(products: Products) -> float:
    spacing = float(jnp.finfo(products.dtype).eps)  # type: ignore[no-untyped-call]
    return ROUNDING * spacing * abs(products.loss)


def along_gradient(products: Products) -> GradientStep | None:
    """`None` where the gradient is zero."""
    norm = float(jnp.linalg.norm(products.gradient))
    if not (math.isfinite(norm) and norm > 0):
        return None
    direction = products.gradient / norm
    curvature = float(jnp.vdot(direction, products(direction)))
    if not curvature > 0 or not math.isfinite(norm / curvature):
        return GradientStep(norm, curvature)
    measured = products.loss_at(direction, -norm / curvature)
    return GradientStep(norm, curvature, 1 / curvature, norm**2 / (2 * curvature), products.loss - measured)


def along_negative(products: Products, end: End, parts: Sequence[LayerPlaces]) -> NegativeDirection:
    """From where the fall that is predicted is seen at all; longer steps show how far it goes."""
    curvature = end.eigenvalue.value
    noise = noise_of(products)
    slope = float(jnp.vdot(products.gradient, end.vector))
    vector = end.vector if slope <= 0 else -end.vector
    slope = -abs(slope)
    first = math.sqrt(2 * SEEN * noise / abs(curvature)) or SHORT
    powers = range(DISTANCES) if products.product_s < SLOW_S else range(1, DISTANCES, 2)
    distances = [first * APART**power for power in powers]
    points = [
        LinePoint(
            side * distance,
            side * distance * slope + curvature * distance**2 / 2,
            products.loss_at(vector, side * distance) - products.loss,
        )
        for distance in distances
        for side in (-1, 1)
    ]
    squares = np.asarray(vector)
    shares = [part.share(squares) for part in parts]
    most = int(np.argmax(shares)) if shares else None
    return NegativeDirection(
        curvature,
        slope,
        tuple(sorted(points, key=lambda point: point.distance)),
        0.0 if most is None else shares[most],
        None if most is None else parts[most].name,
    )


def critical_step(products: Products, update: Array, optimizer: str) -> CriticalStep:
    """From the whole update on: halved where the loss is higher there, doubled where it is not."""
    limit = products.loss + noise_of(products)

    def higher(factor: float) -> bool:
        return not products.loss_at(update, factor) <= limit

    first = products.loss_at(update, 1.0)
    rises = not first <= limit
    last = 1.0
    found: tuple[float, float] | None = None
    for factor in sorted((each for each in FACTORS if each != 1 and (each < 1) == rises), reverse=rises):
        if higher(factor) != rises:
            found = (factor, last) if rises else (last, factor)
            break
        last = factor
    if found is None:
        return CriticalStep(optimizer, first - products.loss, *((0.0, last) if rises else (last, None)))
    below, above = found
    for _ in range(HALVINGS):
        middle = math.sqrt(below * above)
        below, above = (below, middle) if higher(middle) else (middle, above)
    return CriticalStep(optimizer, first - products.loss, below, above)
