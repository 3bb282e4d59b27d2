"""The loss along a line and its derivative, by blocks: as plain JAX gives them point by point."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from gradscope.blocks.block import blocks_of
from gradscope.blocks.line import Lines
from gradscope.blocks.running import Blockwise
from gradscope.load.problem import Problem
from gradscope.trace.program import Tracer
from gradscope.trace.sites import Plan
from tests.blocks.test_running import SMALL, X, layers, normal
from tests.trace.programs import Sample, samples

AMOUNTS = [0.0, 0.5, -1.0]


class Both:
    """A loss in blocks, and as it is."""

    def __init__(self, loss_fn: Any, params: Any, batch: Any) -> None:
        tracer = Tracer(Problem(loss_fn, params, batch))
        self.program, inputs = tracer.trace(batch), tracer.inputs(batch)
        self.weights = [jnp.asarray(weight) for weight in inputs.weights]
        self.directions = [normal(i, *np.shape(w)).astype(w.dtype) for i, w in enumerate(self.weights)]
        bare = replace(self.program, plan=Plan(), sites=())
        gradient = Blockwise(bare, blocks_of(bare.body, Plan(), SMALL))
        self.lines = Lines(bare, gradient, inputs.others)
        self._loss = lambda weights: self.program.loss(weights, inputs.others, list(self.program.body.consts))

    def along(self, moved: Any) -> tuple[Any, Any]:
        factors = [np.float32(leaf in moved) for leaf in range(len(self.weights))]
        amounts = jnp.asarray(AMOUNTS)
        found = self.lines.along(self.weights, self.directions, amounts, factors, moved)
        slowly = [
            self._loss(
                [w + a * f * d for w, f, d in zip(self.weights, factors, self.directions, strict=True)]
            )
            for a in AMOUNTS
        ]
        return np.asarray(found), np.asarray(slowly)

    def tangent(self) -> tuple[Any, Any]:
        found = self.lines.tangent(self.weights, self.directions)
        return np.asarray(found), np.asarray(jax.jvp(self._loss, (self.weights,), (self.directions,))[1])


def test_each_leaf_by_itself_and_all_together() -> None:
    both = Both(*layers(6, jnp.tanh), X)
    count = len(both.weights)
    for moved in ([leaf] for leaf in range(count)):
        np.testing.assert_allclose(*both.along(moved), rtol=2e-6)
    np.testing.assert_allclose(*both.along(range(count)), rtol=2e-6)
    np.testing.assert_allclose(*both.tangent(), rtol=1e-5)


def test_another_start_is_not_taken_for_the_first() -> None:
    both = Both(*layers(6, jnp.tanh), X)
    first, _ = both.along([0])
    both.weights = [2 * weight for weight in both.weights]
    second, truth = both.along([0])
    np.testing.assert_allclose(second, truth, rtol=2e-6)
    assert not np.allclose(first, second)


def test_a_leaf_that_the_loss_does_not_read_moves_nothing() -> None:
    def loss_fn(params: Any, batch: Any) -> Any:
        return jnp.mean(jnp.tanh(batch @ params["read"]) ** 2)

    both = Both(loss_fn, {"idle": jnp.ones(3), "read": normal(1, 6, 6)}, X)
    found, truth = both.along([0])
    assert found.shape == truth.shape
    np.testing.assert_allclose(found, truth, rtol=1e-6)


def test_what_cannot_be_batched_runs_point_by_point(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: Any, **__: Any) -> Any:
        raise NotImplementedError("Batching rule not implemented")

    both = Both(*layers(4, jnp.tanh), X)
    monkeypatch.setattr(jax, "vmap", refuses)
    np.testing.assert_allclose(*both.along([2]), rtol=2e-6)


@pytest.mark.slow
@given(sample=samples())
@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
def test_random_programs(sample: Sample) -> None:
    both = Both(sample.loss_fn, sample.params, sample.batch)
    for moved in ([0], range(len(both.weights))):
        found, truth = both.along(moved)
        np.testing.assert_allclose(found, truth, rtol=1e-4, atol=1e-6)
