"""Chains of layers that are one affine function of the batch: found in every nesting, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gradscope.runs.check import check_loss
from tests.trace.oracle import normal

X, Y = normal(0, 16, 6), normal(1, 16, 2)
PARAMS = {
    "first": normal(2, 6, 8), "bias": normal(3, 8), "middle": normal(4, 8, 8), "last": normal(5, 8, 2),
    "narrow": normal(6, 8, 1), "wide": normal(7, 1, 2), "scale": normal(8, 8), "skip": normal(9, 6, 2),
}  # fmt: skip


def layers_of(network: Callable[[Any, Any], Any], params: Any = PARAMS, x: Any = X) -> tuple[str, ...]:
    report = check_loss(lambda p, b: jnp.mean((network(p, b[0]) - b[1]) ** 2), params, (x, Y), steps=0)
    assert report.flow is not None
    return report.flow.objective.linear_layers


def dense(p: Any, x: Any) -> Any:
    return (x @ p["first"] + p["bias"]) @ p["last"]


def by_row(p: Any, x: Any) -> Any:
    return jax.vmap(lambda row: dense(p, row))(x)


def residual(p: Any, x: Any) -> Any:
    h = x @ p["first"]
    return (h + 0.5 * (h @ p["middle"])) @ p["last"] + x @ p["skip"]


def centered(p: Any, x: Any) -> Any:
    h = x @ p["first"]
    return ((h - h.mean(0)) * p["scale"]) @ p["last"]


def masked(p: Any, x: Any) -> Any:
    return jnp.where(jnp.arange(8) < 6, x @ p["first"], 0.0) @ p["last"]


@pytest.mark.parametrize(
    "network", [dense, jax.jit(dense), jax.checkpoint(dense), by_row, residual, centered, masked]
)
def test_layers_with_nothing_between_them(network: Callable[[Any, Any], Any]) -> None:
    found = layers_of(network)
    assert found[0] == "first"
    assert "last" in found


def test_steps_of_a_loop_without_an_activation() -> None:
    def recurrent(p: Any, x: Any) -> Any:
        inputs = (x @ p["first"])[None] * jnp.ones((4, 1, 1))
        return lax.scan(lambda h, u: (h @ p["middle"] + u, None), jnp.zeros((16, 8)), inputs)[0] @ p["last"]

    assert {"first", "middle", "last"} <= set(layers_of(recurrent))


@pytest.mark.parametrize(
    "between",
    [
        jax.nn.relu,
        jnp.tanh,
        jax.nn.gelu,
        jnp.abs,
        lambda h: jnp.where(h > 0, h, 0.1 * h),
        lambda h: h * jax.nn.sigmoid(h),
        lambda h: h * h,
        lambda h: (h - h.mean(-1, keepdims=True)) / h.std(-1, keepdims=True),
        lambda h: jax.nn.softmax(h @ h.T) @ h,
        lambda h: lax.cummax(h),
        lambda h: jnp.sort(h, axis=0),
    ],
)
def test_an_operation_that_is_not_linear_between_them(between: Callable[[Any], Any]) -> None:
    assert layers_of(lambda p, x: between(x @ p["first"] + p["bias"]) @ p["last"]) == ()


def test_a_single_layer_a_bottleneck_and_a_lookup_are_no_chain() -> None:
    assert layers_of(lambda p, x: x @ p["skip"]) == ()
    assert layers_of(lambda p, x: x @ p["first"] @ p["narrow"] @ p["wide"]) == ()
    tokens = np.arange(16, dtype=np.int32) % 6
    assert layers_of(lambda p, x: p["first"][x] @ p["last"], x=tokens) == ()


def test_one_way_that_bends_is_enough() -> None:
    assert layers_of(lambda p, x: x @ p["skip"] + jax.nn.relu(x @ p["first"]) @ p["last"]) == ()
