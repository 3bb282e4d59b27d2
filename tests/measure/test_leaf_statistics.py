"""A leaf gives the same numbers whether the device reduces it or NumPy reads it whole."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from gradscope.load.problem import Problem
from gradscope.measure import leaf_statistics
from gradscope.measure.leaf_statistics import LeafStatistics, weight_statistics
from gradscope.trace.program import Tracer
from tests.trace.oracle import BATCH, TWO, apply, error


def stacked(p, b):
    h = jax.lax.scan(lambda h, row: (jax.numpy.tanh(apply(row, h)), None), b[0], p["blocks"])[0]
    return error(apply(p["head"], h), b[1])


def test_reduced_on_the_device_or_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = jax.tree.map(lambda leaf: np.stack([leaf * i for i in range(3)]), TWO["first"])
    tracer = Tracer(Problem(stacked, {"blocks": blocks, "head": TWO["second"]}, BATCH))
    program, weights = tracer.trace(BATCH), tracer.inputs(BATCH).weights
    whole, on_device = LeafStatistics(program), LeafStatistics(program, 0)
    gains = on_device.gains()
    assert not whole.gains()
    assert len(gains) == len(weights)
    read = whole.read(weights, {})
    reduced = on_device.read(jax.jit(on_device.reduced)(weights, gains), gains)
    for (a, zeros_a), (b, zeros_b) in zip(read, reduced, strict=True):
        for left, right in (
            (a.root, b.root),
            (a.largest, b.largest),
            (a.counts, b.counts),
            (zeros_a, zeros_b),
        ):
            np.testing.assert_allclose(left, right, rtol=1e-6)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(leaf_statistics, "SMALL", 0)
    for moments, (expected, _) in zip(weight_statistics(program, weights), read, strict=True):
        np.testing.assert_allclose(moments.root, expected.root, rtol=1e-6)
