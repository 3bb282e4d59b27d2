"""Dead and saturated units: counted as plain JAX counts them, in every nesting, where a sign asks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax

from gradscope.records import UnitActivity
from gradscope.runs.check import check_loss
from tests.trace.oracle import normal

ROWS, WIDTH = 64, 12
X = normal(0, ROWS, WIDTH)
W = normal(1, 3, WIDTH, WIDTH) / WIDTH**0.5
B = jnp.where(jnp.arange(WIDTH) < 8, -8.0, 0.0) * jnp.array([0.0, 1.0, 0.0])[:, None]
"""Of the second layer eight units of twelve are dead."""
PARAMS = {"w": W, "b": B, "out": normal(2, WIDTH, 1)}


def layer(x: Any, w: Any, b: Any) -> Any:
    return jax.nn.relu(x @ w + b)


def written_out(p: Any, x: Any) -> Any:
    for w, b in zip(p["w"], p["b"], strict=True):
        x = layer(x, w, b)
    return x


def loop(p: Any, x: Any) -> Any:
    return lax.scan(lambda x, wb: (layer(x, *wb), None), x, (p["w"], p["b"]))[0]


def by_row(p: Any, x: Any) -> Any:
    return jax.vmap(lambda row: written_out(p, row))(x)


def turned(p: Any, x: Any) -> Any:
    """Units along the first axis."""
    for w, b in zip(p["w"], p["b"], strict=True):
        x = jax.nn.relu(w.T @ x.T + b[:, None]).T
    return x


def units_of(network: Callable[[Any, Any], Any], params: Any = PARAMS, x: Any = X) -> list[UnitActivity]:
    report = check_loss(lambda p, x: jnp.mean((network(p, x) @ p["out"]) ** 2), params, x, steps=0)
    assert report.flow is not None
    return list(report.flow.units)


@pytest.mark.parametrize("network", [written_out, loop, jax.checkpoint(loop), by_row, turned])
def test_dead_units_are_those_that_plain_jax_finds(network: Callable[[Any, Any], Any]) -> None:
    (found,) = [each for each in units_of(network) if each.dead > 6]
    hidden = layer(X, W[0], B[0]) @ W[1] + B[1]
    assert found.dead == int(jnp.sum(jnp.all(hidden <= 0, axis=0))) == 8
    assert (found.units, found.elements, found.batches, found.function) == (WIDTH, ROWS, 1, "relu")
    assert "1" in found.layer


def test_channels_of_a_convolution_are_its_units() -> None:
    images, kernel = normal(3, 4, 6, 6, 3), normal(4, 3, 3, 3, 10)
    bias = jnp.where(jnp.arange(10) < 7, -50.0, 0.0)
    dims = ("NHWC", "HWIO", "NHWC")

    def loss(p: Any, x: Any) -> Any:
        h = lax.conv_general_dilated(x, p["kernel"], (1, 1), "SAME", dimension_numbers=dims) + p["bias"]
        return jnp.mean(jax.nn.relu(h).mean((1, 2)) @ p["out"])

    report = check_loss(loss, {"kernel": kernel, "bias": bias, "out": normal(5, 10, 2)}, images, steps=0)
    assert report.flow is not None
    (found,) = report.flow.units
    assert (found.dead, found.units, found.elements) == (7, 10, 4 * 6 * 6)


@pytest.mark.parametrize(("function", "slope"), [(jnp.tanh, 0.05), (jax.nn.sigmoid, 0.0125)])
def test_saturated_elements_are_those_with_a_twentieth_of_the_largest_slope(
    function: Callable[[Any], Any], slope: float
) -> None:
    w = W[:2] * 8

    def network(p: Any, x: Any) -> Any:
        return function(x @ p["w"][0]) @ p["w"][1]

    (found,) = units_of(network, {"w": w, "out": PARAMS["out"]})
    slopes = jax.vmap(jax.vmap(jax.grad(function)))(X @ w[0])
    assert found.saturated == pytest.approx(float(jnp.mean(slopes < slope)), abs=0.003)
    assert found.saturated > 0.3
    assert found.hidden


def test_a_unit_is_dead_only_over_all_batches() -> None:
    w = jnp.eye(8)
    one = jnp.where(jnp.arange(8) < 4, -1.0, 1.0) * jnp.ones((ROWS, 8)) * normal(6, ROWS, 1) ** 2
    batches = [one, jnp.where(jnp.arange(8) < 2, -1.0, 1.0) * jnp.abs(one)]
    report = check_loss(
        lambda p, x: jnp.mean((jax.nn.relu(x @ p["w"]) @ p["out"]) ** 2),
        {"w": w, "out": jnp.ones((8, 1))},
        batches=lambda: iter(batches),
        count=2,
        steps=0,
    )
    assert report.flow is not None
    assert [(each.dead, each.batches) for each in report.flow.units] in ([(2, 2)], [])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_a_healthy_network_is_not_looked_at(dtype: Any) -> None:
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), PARAMS | {"b": jnp.zeros((3, WIDTH))})
    assert units_of(written_out, params, X.astype(dtype)) == []


def test_units_that_die_in_the_short_training_are_counted_after_it() -> None:
    params = {"w": W[:1], "b": jnp.zeros((1, WIDTH)), "out": jnp.ones((WIDTH, 1))}
    report = check_loss(
        lambda p, x: jnp.mean((written_out(p, x) @ p["out"] + 20.0) ** 2),
        params,
        X,
        optimizer=optax.sgd(0.1),
        steps=20,
    )
    assert report.flow is not None
    (found,) = report.flow.units
    assert found.dead < found.units
    assert found.dead_later is not None
    assert found.dead_later > found.dead
    assert not np.isnan(found.saturated)


def test_a_gate_may_be_closed() -> None:
    """A sigmoid that multiplies other data is no unit of a hidden layer, however it is written."""
    params = {"w": W[:2] * 20, "out": PARAMS["out"]}

    def gated(p: Any, x: Any) -> Any:
        return jax.nn.sigmoid(x @ p["w"][0]).reshape(x.shape) * (x @ p["w"][1])

    def hidden(p: Any, x: Any) -> Any:
        return 2.0 * jax.nn.sigmoid(x @ p["w"][0]) @ p["w"][1]

    assert units_of(gated, params) == []
    assert [each.function for each in units_of(hidden, params)] == ["logistic"]
