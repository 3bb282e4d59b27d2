"""Healthy networks that make differences hard: none of their gradients is ever called wrong."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gradscope.load.problem import Problem
from gradscope.records import GradientCheck
from tests.verification import made
from tests.verification.made import RIGHT, UNSURE, WRONG, mlp, run, verdicts


def dropped(seed: int) -> Problem:
    base = mlp(jnp.tanh, seed=seed)

    def loss_fn(params: Any, batch: Any, key: Any) -> Any:
        kept = jax.random.bernoulli(key, 0.5, batch[0].shape)
        return base.loss_fn(params, (batch[0] * kept, batch[1]))

    return Problem(loss_fn, base.params, next(base.batches()), seed=seed)


def penalized(seed: int) -> Problem:
    """The biases are zero, where the penalty has its kink."""
    base = mlp(jnp.tanh, seed=seed)

    def loss_fn(params: Any, batch: Any) -> Any:
        return base.loss_fn(params, batch) + 0.1 * sum(jnp.abs(w).sum() for w in jax.tree.leaves(params))

    return Problem(loss_fn, base.params, next(base.batches()), seed=seed)


def leaky(x: Any) -> Any:
    return jnp.where(x > 0, x, 0.1 * x)


EASY: dict[str, Callable[[int], Problem]] = {
    "relu": lambda seed: mlp(seed=seed),
    "leaky relu with a comparison": lambda seed: mlp(leaky, seed=seed),
    "abs": lambda seed: mlp(jnp.abs, seed=seed),
    "sort": lambda seed: mlp(jnp.sort, seed=seed),
    "top_k": lambda seed: mlp(lambda x: jnp.tile(lax.top_k(x, 8)[0], 2), seed=seed),
    "batch normalization": lambda seed: mlp(made.normed, seed=seed),
    "max pooling": made.pooled,
    "lstm": made.recurrent,
    "transformer": made.attentive,
    "dropout": dropped,
    "absolute penalty": penalized,
    "parameters in bfloat16": lambda seed: mlp(seed=seed, params_in=jnp.bfloat16),
    "loss of 1e6": lambda seed: mlp(seed=seed, scale=1e6),
    "loss of 1e-6": lambda seed: mlp(seed=seed, scale=1e-6),
    "loss with an offset of 1e6": lambda seed: mlp(seed=seed, offset=1e6),
    "float32 inside": lambda seed: mlp(jnp.tanh, seed=seed, pinned=jnp.float32),
}
HARD: dict[str, Callable[[int], Problem]] = {
    "relu, float32 inside": lambda seed: mlp(seed=seed, pinned=jnp.float32),
    "batch normalization, float32 inside": lambda seed: mlp(made.normed, seed=seed, pinned=jnp.float32),
    "bfloat16 inside": lambda seed: mlp(jnp.tanh, seed=seed, pinned=jnp.bfloat16),
    "float16 inside": lambda seed: mlp(seed=seed, pinned=jnp.float16),
    "offset of 1e6 in float32": lambda seed: mlp(seed=seed, pinned=jnp.float32, offset=1e6),
    "steps": lambda seed: mlp(lambda x: leaky(x) + (x > 0.3), seed=seed),
    "steps in float32": lambda seed: mlp(lambda x: leaky(x) + (x > 0.3), seed=seed, pinned=jnp.float32),
    "rounding": lambda seed: mlp(lambda x: jnp.round(4 * x) / 4, seed=seed),
}


@cache
def judged(name: str, seed: int = 0) -> dict[str, GradientCheck]:
    return verdicts((EASY | HARD)[name](seed))


@pytest.mark.few(6)
@pytest.mark.parametrize("name", EASY)
def test_a_right_gradient_is_called_right(name: str) -> None:
    found = judged(name)
    assert {check.verdict for check in found.values()} == {RIGHT}, found


@pytest.mark.few(2)
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
@pytest.mark.parametrize("name", ["relu", "max pooling", "batch normalization"])
def test_no_seed_makes_it_wrong(name: str, seed: int) -> None:
    found = judged(name, seed)
    assert {check.verdict for check in found.values()} == {RIGHT}, found


@pytest.mark.few(3)
@pytest.mark.parametrize("name", HARD)
def test_a_right_gradient_is_never_called_wrong(name: str) -> None:
    found = judged(name)
    assert WRONG not in {check.verdict for check in found.values()}, found


def test_low_precision_says_what_it_hides() -> None:
    found = judged("bfloat16 inside")
    unsure = [check for check in found.values() if check.verdict is UNSURE]
    assert unsure
    assert {check.dtype for check in unsure} == {"bfloat16"}
    assert all(check.cause in ("noise", "unsettled") for check in unsure), found
    assert any("rounding in bfloat16" in check.reason for check in unsure)


def test_a_leaf_beside_a_kink_says_where_it_was_judged() -> None:
    found = judged("absolute penalty")
    assert found["[0].b"].cause == "nearby-point"
    assert "checked at a point 1 % away" in found["[0].b"].reason


def test_a_large_leaf_does_not_swamp_a_scalar() -> None:
    rng = np.random.default_rng(0)
    params = {
        "big": made.normal(rng, 500, 200),
        "scale": np.float32(0.3),
        "none": np.zeros((0, 3), np.float32),
    }

    def loss_fn(params: Any, x: Any) -> Any:
        return jnp.mean((x @ params["big"] * jnp.exp(1e-3 * params["scale"])) ** 2)

    found = verdicts(Problem(loss_fn, params, made.normal(rng, 8, 500, scale=1.0)))
    assert {check.verdict for check in found.values()} == {RIGHT}
    assert found["scale"].error < 1e-8 * abs(found["scale"].analytic)
    assert found["none"].cause == "empty"


def test_a_leaf_without_a_path_to_the_loss_is_right_and_says_so() -> None:
    problem = Problem(lambda p, x: jnp.sum(x * p["w"]), {"w": np.ones(3), "idle": np.ones(2)}, np.ones(3))
    found = verdicts(problem)
    assert found["idle"].verdict is RIGHT
    assert found["idle"].cause == "no-path"
    assert "does not reach the loss" in found["idle"].reason


def test_the_derivative_is_that_of_calculus() -> None:
    problem = Problem(lambda p, x: jnp.sum(jnp.sin(p["w"]) * x), {"w": np.float32(0.5)}, np.float32(3.0))
    (check,) = run(problem).gradients
    assert abs(check.numeric) == pytest.approx(3 * np.cos(0.5), rel=1e-9)
    assert check.analytic == pytest.approx(check.numeric, rel=1e-9)
    assert check.error <= 3 * check.uncertainty + 1e-15


def test_a_minimum_is_judged_beside_itself() -> None:
    problem = Problem(lambda p, x: jnp.sum((p["w"] - x) ** 2), {"w": np.ones(3)}, np.ones(3))
    (check,) = run(problem).gradients
    assert (check.verdict, check.cause) == (RIGHT, "nearby-point")
    assert check.analytic != 0


def test_forward_and_reverse_mode_agree_on_a_healthy_network() -> None:
    mode = run(mlp(jnp.tanh)).transposition
    assert mode.verdict is RIGHT
    assert mode.forward == pytest.approx(mode.reverse, rel=1e-10)


def test_single_elements_are_checked_as_textbooks_do() -> None:
    found = run(mlp(jnp.tanh), per_element=4)
    assert {element.verdict for element in found.elements} == {RIGHT}
    assert sum(element.parameter == "[0].w" for element in found.elements) == 4
    assert sum(element.parameter == "[2].b" for element in found.elements) == 3
    assert len({element.index for element in found.elements if element.parameter == "[0].w"}) == 4
