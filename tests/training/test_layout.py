"""A training whose parameters are split over devices leaves everything of their size where they lie."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P

from gradscope.load.problem import Problem
from gradscope.records.progress import silent
from gradscope.runs.preparing import prepare
from gradscope.training.short import trainer_of
from gradscope.training.symmetry import equal_units

MESH = Mesh(np.array(jax.devices()[:4]), ("x",))
WIDE = 260
"""Its square is more than what leaves the flow pass whole."""
X = np.random.default_rng(0).normal(size=(8, WIDE)).astype(np.float32)


def loss(params: Any, batch: Any) -> Any:
    h = jnp.tanh(batch @ params["columns"])
    return jnp.mean((h @ params["rows"] - batch) ** 2)


@pytest.fixture(scope="module")
def problem() -> Problem:
    weight = np.random.default_rng(1).normal(size=(WIDE, WIDE)).astype(np.float32) / 16
    params = {
        "columns": jax.device_put(weight, NamedSharding(MESH, P(None, "x"))),
        "rows": jax.device_put(weight, NamedSharding(MESH, P("x"))),
    }
    return Problem(loss, params, jax.device_put(X, NamedSharding(MESH, P())), optimizer=optax.adam(1e-3))


def test_weights_gradients_updates_and_state_lie_as_the_parameters_do(problem: Problem) -> None:
    prepared = prepare(problem, progress=silent)
    inputs, flow = prepared.inputs[0], prepared.flow
    made = trainer_of(problem, prepared.tracer, flow, inputs, (prepared.batches, prepared.rest))
    run, _ = made.watched(3)
    assert np.isfinite(run.leaves).all()
    for found in (run.weights, run.gradients, run.first, *_moments(made.start()), *_moments(run.state)):
        for weight, each in zip(inputs.weights, found, strict=True):
            assert each.sharding.is_equivalent_to(weight.sharding, 2), each.sharding


def _moments(state: Any) -> list[Any]:
    leaves = [leaf for leaf in jax.tree.leaves(state) if leaf.ndim]
    return [leaves[:2], leaves[2:]]


def test_equal_units_are_counted_where_they_lie() -> None:
    before = jax.device_put(np.ones((8, 12), np.float32), NamedSharding(MESH, P(None, "x")))
    gradient = before * np.arange(1, 9)[:, None]
    assert equal_units(before, before - gradient, gradient) == 12
    assert equal_units(before, before, gradient) == 0
    assert equal_units(before, before - gradient.at[0, 0].set(5), gradient) == 0
