"""Where the operation stands in a function of a library, the remedy is one for the call."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.scipy.special import xlogy

from gradscope.records import Cause
from gradscope.runs.check import check_loss
from tests.nonfinite.finding import Loss, X, marked_line, origin_of

DEAD = {"w": np.ones((4, 3), np.float32), "b": np.full(3, -50.0, np.float32)}


def inner_loss(p: Any, b: Any) -> Any:
    return jnp.mean((jax.nn.relu(b @ p["w"] + p["b"]) - jnp.array([1.0, 1.0, 1.0]) + p["w"][0]) ** 2)


def meta(optimizer: Any) -> Loss:
    def loss(p: Any, b: Any) -> Any:
        state = optimizer.init(p)
        for _ in range(2):
            updates, state = optimizer.update(jax.grad(inner_loss)(p, b), state, p)  # here
            p = optax.apply_updates(p, updates)
        return inner_loss(p, b)

    loss.line = marked_line(meta)  # type: ignore[attr-defined]
    return loss


@pytest.mark.parametrize("make", [optax.adam, optax.adamw, optax.adabelief])
def test_a_root_in_an_optimizer_gets_its_eps_root(make: Any) -> None:
    settings = {"eps_root": 0.0} if make is optax.adabelief else {}
    loss = meta(make(1e-2, **settings))
    (finding,) = check_loss(loss, DEAD, X).findings
    assert finding.source is not None
    assert finding.source.line == loss.line  # type: ignore[attr-defined]
    assert "stands in a function of `optax`" in finding.remedy
    assert "eps_root=1e-8" in finding.remedy
    assert "jnp.sqrt(" not in finding.remedy


def test_with_it_the_gradient_is_finite() -> None:
    assert all(
        f.rule != "non-finite" for f in check_loss(meta(optax.adam(1e-2, eps_root=1e-8)), DEAD, X).findings
    )


def similarity(p: Any, b: Any) -> Any:
    return optax.cosine_similarity(b @ p["w"] * 0, b @ p["w"]).sum()


def test_another_function_gets_a_larger_epsilon() -> None:
    (finding,) = check_loss(similarity, {"w": DEAD["w"]}, X).findings
    assert "a function of `optax`" in finding.remedy
    assert "a larger `epsilon`, which may" in finding.remedy


def test_one_without_such_an_argument_is_guarded_from_outside() -> None:
    def loss(p: Any, b: Any) -> Any:
        return xlogy(1 + p["w"], np.zeros((4, 3), np.float32)).sum()

    assert origin_of(loss).cause is Cause.LOG_OF_ZERO
    assert "guard the call" in check_loss(loss, {"w": DEAD["w"]}, X).findings[0].remedy


@pytest.mark.parametrize("root", [jnp.sqrt, jnp.linalg.norm, jnp.std])
def test_the_users_own_expression_in_jax_numpy_is_the_users(root: Any) -> None:
    assert origin_of(lambda p, b: root(p["w"] * 0).sum()).library == ""
