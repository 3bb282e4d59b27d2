"""Targets far from 0 and no bias anywhere: told where their mean is what the steps learn."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen

from gradscope.runs.check import check_loss

RNG = np.random.default_rng(0)
X = RNG.normal(size=(256, 5)).astype(np.float32)
FAR = (6 + np.sin(X[:, 0])).astype(np.float32)
BOTH = (np.array([-6.0, 4.0]) + X[:, :2]).astype(np.float32)
CONSTANT = np.concatenate([X, np.ones((256, 1), np.float32)], axis=1)


def matrix(*shape: int) -> Any:
    return jax.nn.initializers.glorot_normal()(jax.random.key(len(shape) + shape[0]), shape)


TWO = {"a": matrix(5, 32), "o": matrix(32, 1)}


def output(p: Any, x: Any, act: Any = jnp.tanh) -> Any:
    return (act(x @ p["a"] + p.get("b", 0.0)) @ p["o"])[:, 0]


def squared(p: Any, batch: Any) -> Any:
    return jnp.mean((output(p, batch[0]) - batch[1]) ** 2)


def linear(p: Any, batch: Any) -> Any:
    return jnp.mean((batch[1] - batch[0] @ p["w"]) ** 2)


def joined(p: Any, batch: Any) -> Any:
    x = jnp.concatenate([batch[0], jnp.ones((len(batch[0]), 1))], axis=1)
    return linear(p, (x, batch[1]))


class Normed(linen.Module):
    shift: bool

    @linen.compact
    def __call__(self, x: Any) -> Any:
        x = linen.Dense(32, use_bias=False)(x)
        x = jnp.sin(linen.LayerNorm(use_bias=self.shift)(x))
        return linen.Dense(1, use_bias=False)(x)[:, 0]


def normed(*, shift: bool) -> tuple[Any, Any]:
    net = Normed(shift)
    loss = lambda p, batch: jnp.mean(jnp.abs(net.apply(p, batch[0]) - batch[1]))  # noqa: E731
    return loss, net.init(jax.random.key(0), X)


def told(loss: Any, params: Any, batch: Any, optimizer: Any) -> list[str]:
    report = check_loss(loss, params, batch, optimizer=optimizer)
    assert not [each for each in report.skipped if each.what == "missing-bias"]
    return [f"{one.severity.value} {one.rule}" for one in report.findings if one.severity.value != "note"]


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("loss", "params", "batch", "optimizer"),
    [
        (squared, TWO, (X, FAR), optax.adam(1e-2)),
        (linear, {"w": jnp.zeros((5, 2))}, (X, BOTH), optax.sgd(0.1)),
        (*normed(shift=False), (X, FAR), optax.adam(3e-3)),
        (lambda p, batch: 1e6 * squared(p, batch), TWO, (X, FAR), optax.adam(1e-2)),
    ],
)
def test_an_offset_that_no_parameter_adds_is_told_and_not_the_scale_of_the_target(
    loss: Any, params: Any, batch: Any, optimizer: Any
) -> None:
    assert told(loss, params, batch, optimizer) == ["warning missing-bias"]


@pytest.mark.few(3)
@pytest.mark.parametrize(
    ("loss", "params", "batch", "optimizer"),
    [
        (squared, TWO | {"b": jnp.zeros(32)}, (X, FAR), optax.adam(1e-2)),
        (linear, {"w": jnp.zeros((6,))}, (CONSTANT, FAR), optax.sgd(1e-2)),
        (joined, {"w": jnp.zeros((6,))}, (X, FAR), optax.sgd(1e-2)),
        (squared, TWO, (X, np.sin(X[:, 0])), optax.adam(1e-2)),
        (linear, {"w": jnp.zeros((5,))}, (X + 4, (X + 4).sum(axis=1)), optax.sgd(3e-3)),
        (*normed(shift=True), (X, FAR), optax.adam(3e-3)),
    ],
)
def test_what_has_a_bias_or_needs_none_is_not_said_to_miss_one(
    loss: Any, params: Any, batch: Any, optimizer: Any
) -> None:
    assert "warning missing-bias" not in told(loss, params, batch, optimizer)
    assert "error missing-bias" not in told(loss, params, batch, optimizer)
