"""Profiles of δ from the input to the loss that look sick and are not. Both depth rules must be silent."""

from __future__ import annotations

import random

from tests.rules.made import decay

NOISE = random.Random(0)


def transformer(blocks: int) -> list[float]:
    """Six sites a block at their own levels, a gather in front, a normalization and a head at the end."""
    block = [1.0, 0.3, 0.9, 1.1, 0.05, 1.0]
    return [2.0, *(x * (1 + 0.1 * NOISE.random()) for x in block * blocks), 0.7, 0.02]


HEALTHY: dict[str, list[float]] = {
    "residual, 100 layers": [NOISE.uniform(0.8, 1.25) for _ in range(100)],
    "residual, 100 layers, growth of pre-normalization": [(100 / (i + 1)) ** 0.5 for i in range(100)],
    "transformer, 12 blocks": transformer(12),
    "transformer, 48 blocks": transformer(48),
    "plain convolutions with BatchNorm, 1.2 a layer": decay(20, 1.2),
    "three sigmoid layers and a head": decay(4, 0.25),
    "five sigmoid layers": decay(5, 0.25),
    "policy head at 0.01": [0.008, 0.009, 0.01, 1.0],
    "policy head at 0.0001": [0.8e-4, 0.9e-4, 1e-4, 1.0],
    "small head and a small embedding": [1e-5, 1e-2, 1.1e-2, 0.9e-2, 1.0],
    "global average pooling over 1024 places and a small head": [3e-4] * 20 + [1e-2, 1.0],
    "pooling at every stage": [x for stage in range(5) for x in [0.5 ** (5 - stage)] * 4] + [1.0],
    "zero-initialized head": [0.0] * 12 + [1.0],
    "bottleneck 784-400-20-400-784, Xavier": [0.31, 0.6, 0.8, 3.1, 1.3, 1.0],
    "bottleneck 784-400-20-400-784 and a weight on its divergence": [9e2, 4e2, 1e3, 1.4, 1.1, 1.0],
    "u-net": [1.0, 0.4, 0.1, 0.03, 0.005, 0.03, 0.1, 0.5, 0.9, 1.0],
    "dips in the middle": [1.0, 1e-4, 1.0, 1e-5, 1e-4, 1.0, 1e-6, 1.0],
    "a spike in the middle": [1.0, 1.1, 1e5, 1.0, 0.9, 1.0],
    "a loss weight of 1e-6 at the end": [1.0, 1.1, 0.9, 1.0, 1e-6],
    "one jump in the middle": [1e-4] * 10 + [1.0] * 10,
    "three layers": [1e-8, 1e-4, 1.0],
    "one layer": [1.0],
    "no layer": [],
    "four layers just above the limit": decay(4, 0.1001),
}
