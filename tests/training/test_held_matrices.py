"""Optimizers that hold every matrix of a new network: tried, and quiet where it looks trained."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradscope.runs.check import check_loss

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 8)).astype(np.float32)
Y = (X[:, :1] + np.sin(2 * X[:, 1:2])).astype(np.float32)


def normal(*shape: int) -> Any:
    return (RNG.normal(size=shape) / shape[0] ** 0.5).astype(np.float32)


NEW = {
    "body": {"w": normal(8, 64), "b": np.zeros(64, np.float32)},
    "head": {"w": normal(64, 1), "b": np.zeros(1, np.float32)},
}
TRAINED = {
    "body": {"w": NEW["body"]["w"], "b": 0.1 * normal(64)},
    "head": {"w": NEW["head"]["w"], "b": np.zeros(1, np.float32)},
}


def loss(p: Any, batch: Any) -> Any:
    x, y = batch
    h = jnp.tanh(x @ p["body"]["w"] + p["body"]["b"])
    return jnp.mean((p.get("scale", 1.0) * (h @ p["head"]["w"]) + p["head"]["b"] - y) ** 2)


def only(labels: Any) -> Any:
    return optax.multi_transform({"train": optax.adam(3e-3), "keep": optax.set_to_zero()}, labels)


def by_rank(least: int, most: int) -> Any:
    return only(lambda p: jax.tree.map(lambda w: "train" if least <= np.ndim(w) <= most else "keep", p))


def told(params: Any, optimizer: Any, scale: float = 1.0) -> dict[str, str]:
    report = check_loss(lambda p, b: scale * loss(p, b), params, (X, Y), optimizer=optimizer)
    assert not [each for each in report.skipped if "itself" in each.reason]
    return {f.message: f.severity.value for f in report.findings if f.rule == "not-updated"}


@pytest.mark.parametrize("scale", [1.0, 1e-4])
def test_a_new_network_whose_vectors_alone_are_trained_has_a_warning(scale: float) -> None:
    ((message, severity),) = told(NEW, by_rank(1, 1), scale).items()
    assert severity == "warning"
    assert message.startswith("Your optimizer moves 2 vectors (`body.b` and `head.b`) and none of the 2 matr")
    assert "100 steps of Adam with a rate of 0.001 take the loss from" in message


HEALTHY = {
    "the head alone": (NEW, only({"body": "keep", "head": "train"})),
    "biases of a trained one": (TRAINED, by_rank(1, 1)),
    "a temperature": (NEW | {"scale": np.ones((), np.float32)}, by_rank(0, 0)),
    "matrices alone": (NEW, by_rank(2, 2)),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_a_head_trained_biases_and_a_temperature_are_notes(name: str) -> None:
    assert list(told(*HEALTHY[name]).values()) == ["note"]
