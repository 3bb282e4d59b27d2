"""A leaf gives the same numbers whether the device reduces it or NumPy reads it whole."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from gradscope.load.problem import Problem
from gradscope.measure import leaf_statistics
from gradscope.measure.leaf_statistics import GRADIENT, LeafStatistics, weight_statistics
from gradscope.trace.program import Tracer
from gradscope.trace.statistics import RMS
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
    read = whole.read(weights, {}, GRADIENT)
    reduced = jax.jit(lambda leaves, gains: on_device.reduced(leaves, gains, GRADIENT))(weights, gains)
    for a, b in zip(read, on_device.read(reduced, gains, GRADIENT), strict=True):
        np.testing.assert_array_equal(a.counts, b.counts)
        for statistic in GRADIENT:
            np.testing.assert_allclose(a[statistic], b[statistic], rtol=1e-6)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(leaf_statistics, "SMALL", 0)
    for found, expected in zip(weight_statistics(program, weights), read, strict=True):
        np.testing.assert_allclose(found[RMS], expected[RMS], rtol=1e-6)
