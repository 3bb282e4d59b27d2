"""Draws with a constant key: found at any depth, and told from those whose key varies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradscope.load.problem import Problem
from gradscope.trace.domains.draws import constant_draws
from gradscope.trace.program import Tracer

PARAMS = {"w": jnp.ones((4, 3))}
BATCH = {"x": jnp.ones((6, 4)), "step": jnp.zeros((), jnp.int32)}
KEY = jax.random.PRNGKey(3)
TYPED = jax.random.key(3)
Loss = Callable[..., Any]


def noisy(params: Any, batch: Any, key: Any) -> Any:
    noise = jax.random.normal(key, batch["x"].shape)
    return jnp.mean(((batch["x"] + noise) @ params["w"]) ** 2)


def in_a_loop(params: Any, batch: Any) -> Any:
    def step(total: Any, number: Any) -> Any:
        return total + noisy(params, batch, jax.random.fold_in(jax.random.key(0), number)), None

    return jax.lax.scan(step, 0.0, jnp.arange(3))[0]


def for_each_row(params: Any, batch: Any) -> Any:
    def of_a_row(row: Any, key: Any) -> Any:
        return jnp.sum(((row + jax.random.uniform(key, row.shape)) @ params["w"]) ** 2)

    return jnp.mean(jax.vmap(of_a_row)(batch["x"], jax.random.split(jax.random.key(0), len(batch["x"]))))


def in_a_branch(params: Any, batch: Any) -> Any:
    return jax.lax.cond(batch["step"] > 3, lambda: noisy(params, batch, KEY), lambda: 0.0)


CONSTANT: dict[str, Loss] = {
    "a seed": lambda p, b: noisy(p, b, jax.random.PRNGKey(0)),
    "a typed seed": lambda p, b: noisy(p, b, jax.random.key(0)),
    "closed over": lambda p, b: noisy(p, b, KEY),
    "closed over, typed": lambda p, b: noisy(p, b, TYPED),
    "split and folded": lambda p, b: noisy(p, b, jax.random.fold_in(jax.random.split(KEY)[1], 7)),
    "beside a key": lambda p, b, key: noisy(p, b, key) + noisy(p, b, KEY),
    "compiled": lambda p, b: jax.jit(noisy)(p, b, KEY),
    "checkpointed": lambda p, b: jax.checkpoint(noisy)(p, b, KEY),
    "a loop": in_a_loop,
    "each row": for_each_row,
    "a branch": in_a_branch,
    "gamma": lambda p, b: jnp.sum(p["w"]) * jnp.sum(jax.random.gamma(KEY, 2.0, (6,))),
}
VARYING: dict[str, Loss] = {
    "the key of the loss": noisy,
    "folded with a step": lambda p, b: noisy(p, b, jax.random.fold_in(KEY, b["step"])),
    "of the batch": lambda p, b: noisy(p, b, jax.random.key(b["step"])),
    "a loop with the key": lambda p, b, key: jax.lax.fori_loop(
        0, 3, lambda i, total: total + noisy(p, b, jax.random.fold_in(key, i)), 0.0
    ),
    "not read by the loss": lambda p, b: (jnp.sum(p["w"]), jax.random.normal(KEY, (6, 4))),
    "a state": lambda p, b: (noisy(p, b, KEY), jax.random.split(KEY)[0]),
}


def found(loss: Loss) -> list[Any]:
    program = Tracer(Problem(loss, PARAMS, BATCH)).trace(BATCH)
    return constant_draws(program.body, program.plan)


@pytest.mark.parametrize("name", CONSTANT)
def test_a_draw_with_a_constant_key_is_found(name: str) -> None:
    (draw,) = found(CONSTANT[name])
    assert draw.shape[0] == 6


@pytest.mark.parametrize("name", VARYING)
def test_a_key_that_may_be_another_one_at_another_step_is_none(name: str) -> None:
    assert found(VARYING[name]) == []


def test_the_layer_it_goes_into_and_the_seed_are_known() -> None:
    program = Tracer(Problem(CONSTANT["a seed"], PARAMS, BATCH)).trace(BATCH)
    (draw,) = constant_draws(program.body, program.plan)
    assert draw.site == program.layers[0].sites[0].id
    assert draw.seed is not None
    assert draw.seed[0].primitive.name == "random_seed"
    (closed_over,) = found(CONSTANT["closed over"])
    assert closed_over.seed is None


def test_numbers_of_numpy_are_no_draw() -> None:
    noise = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    assert found(lambda p, b: jnp.mean(((b["x"] + noise) @ p["w"]) ** 2)) == []
