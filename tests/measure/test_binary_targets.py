"""Targets of a binary cross-entropy, in each of the ways in which it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradscope.load.problem import Problem
from gradscope.measure.binary_targets import binary_targets
from gradscope.records import OutputFault, OutputMismatch
from gradscope.trace.program import Tracer
from tests.trace.oracle import normal

X = normal(0, 64, 6)
PARAMS = {"w": normal(1, 6, 8), "v": normal(2, 8, 1)}
FIVE = np.random.default_rng(0).integers(0, 5, 64)
Entropy = Callable[[Any, Any], Any]


def by_hand(logits: Any, labels: Any) -> Any:
    p = jax.nn.sigmoid(logits)
    return -(labels * jnp.log(p + 1e-7) + (1 - labels) * jnp.log(1 - p + 1e-7))


def stable(logits: Any, labels: Any) -> Any:
    return jnp.maximum(logits, 0) - logits * labels + jnp.log1p(jnp.exp(-jnp.abs(logits)))


WAYS: dict[str, Entropy] = {
    "optax": optax.sigmoid_binary_cross_entropy,
    "by hand": by_hand,
    "stable": stable,
    "compiled": jax.jit(stable),
}
FAULTY = {"five classes": FIVE, "signs": np.sign(X[:, 0]), "percents": np.abs(100 * X[:, 1])}
RIGHT = {
    "classes": FIVE % 2,
    "booleans": FIVE > 2,
    "smoothed": 0.1 + 0.8 * (FIVE % 2),
    "mixed": np.random.default_rng(1).random(64),
}


def found(entropy: Entropy, labels: Any, dtype: Any = jnp.float32) -> list[OutputMismatch]:
    def loss(params: Any, batch: Any) -> Any:
        x, y = batch
        logits = (jnp.tanh(x.astype(dtype) @ params["w"]) @ params["v"])[:, 0]
        return jnp.mean(entropy(logits, jnp.asarray(y, logits.dtype)).astype(jnp.float32))

    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), PARAMS)
    tracer = Tracer(Problem(loss, params, (X, labels)))
    return list(binary_targets(tracer.trace((X, labels)), [tracer.inputs((X, labels))]))


@pytest.mark.parametrize("labels", FAULTY)
@pytest.mark.parametrize("way", WAYS)
def test_what_is_no_probability_is_found(way: str, labels: str) -> None:
    (one,) = found(WAYS[way], FAULTY[labels])
    targets = np.asarray(FAULTY[labels], np.float64)
    outside = (targets < 0) | (targets > 1)
    assert (one.fault, one.layer) == (OutputFault.NOT_BINARY, "v")
    assert one.source is not None
    np.testing.assert_allclose([one.smallest, one.largest], [targets.min(), targets.max()], rtol=1e-5)
    np.testing.assert_allclose(one.outside, outside.mean(), rtol=1e-6)


@pytest.mark.parametrize("labels", RIGHT)
@pytest.mark.parametrize("way", WAYS)
def test_probabilities_are_right(way: str, labels: str) -> None:
    assert found(WAYS[way], RIGHT[labels]) == []
    assert found(WAYS[way], RIGHT[labels], jnp.bfloat16) == []


OTHERS: dict[str, Entropy] = {
    "an advantage": lambda x, y: -y * jax.nn.log_sigmoid(x),
    "a squared error": lambda x, y: (x - y) ** 2,
    "a hinge": lambda x, y: jnp.maximum(0, 1 - x * y),
    "a line between two outputs": lambda x, y: (y * x + (1 - y) * x**2 - 1) ** 2,
    "a logistic loss of signs": lambda x, y: jax.nn.softplus(-x * y),
    "a positive class of weight 3": lambda x, y: (
        (1 - y) * x + (1 + 2 * y) * (jnp.log1p(jnp.exp(-jnp.abs(x))) + jnp.maximum(-x, 0))
    ),
    "examples of unlike weight": lambda x, y: (
        3 * (jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x)))) - 3 * y * x
    ),
    "ten trials": lambda x, y: 10 * jax.nn.softplus(x) - y * x,
    "spins": lambda x, y: jnp.abs(x) + jnp.log1p(jnp.exp(-2 * jnp.abs(x))) - y * x,
    "two logits": lambda x, y: -y * jax.nn.log_sigmoid(x) - (1 - y) * jax.nn.log_sigmoid(x**2),
    "weighted classes": lambda x, y: -3 * y * jax.nn.log_sigmoid(x) - (1 - y) * jax.nn.log_sigmoid(-x),
}


@pytest.mark.parametrize("labels", FAULTY)
@pytest.mark.parametrize("other", OTHERS)
def test_other_losses_take_what_they_like(other: str, labels: str) -> None:
    assert found(OTHERS[other], FAULTY[labels]) == []


BITS = (FIVE % 2).astype(np.float32)
SHAPES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "ReLU": (lambda z: jnp.clip(jax.nn.relu(z), 1e-7, 1 - 1e-7), "ReLU"),
    "ReLU by a maximum": (lambda z: jnp.minimum(jnp.maximum(z, 0.0), 0.999) + 1e-6, "ReLU"),
    "tanh": (lambda z: jnp.clip(jnp.tanh(z), 1e-7, 1 - 1e-7), "tanh"),
    "no function": (lambda z: jnp.clip(z, 1e-7, 1 - 1e-7), "linear layer"),
}
PROPER: dict[str, Callable[[Any], Any]] = {
    "sigmoid": jax.nn.sigmoid,
    "clipped sigmoid": lambda z: jnp.clip(jax.nn.sigmoid(z), 1e-7, 1 - 1e-7),
    "tanh between 0 and 1": lambda z: jnp.clip((jnp.tanh(z) + 1) / 2, 1e-6, 1 - 1e-6),
    "exponential": lambda z: jnp.clip(1 - jnp.exp(-jax.nn.softplus(z)), 1e-6, 1 - 1e-6),
    "two classes": lambda z: jax.nn.softmax(jnp.stack([z, 0 * z], -1))[:, 0],
    "hard sigmoid": jax.nn.hard_sigmoid,
}


def of_two(p: Any, y: Any) -> Any:
    return -(y * jnp.log(p) + (1 - y) * jnp.log(1 - p))


def shaped(shape: Callable[[Any], Any]) -> list[OutputMismatch]:
    def loss(params: Any, batch: Any) -> Any:
        x, y = batch
        z = (jax.nn.relu(x @ params["w"]) @ params["v"] + params["b"])[:, 0]
        return jnp.mean(of_two(shape(z), y))

    tracer = Tracer(Problem(loss, {**PARAMS, "b": np.zeros(1, np.float32)}, (X, BITS)))
    return list(binary_targets(tracer.trace((X, BITS)), [tracer.inputs((X, BITS))]))


@pytest.mark.parametrize("name", SHAPES)
def test_an_output_that_nothing_keeps_between_0_and_1_is_found(name: str) -> None:
    shape, function = SHAPES[name]
    (one,) = shaped(shape)
    assert (one.fault, one.function, one.layer) == (OutputFault.NO_PROBABILITY, function, "v")


@pytest.mark.parametrize("name", PROPER)
def test_an_output_that_is_a_probability_is_right(name: str) -> None:
    assert shaped(PROPER[name]) == []
