"""Dropout in a program: found whoever wrote it and at any depth, and told from other random masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import pytest

from gradscope.load.problem import Problem
from gradscope.trace.domains.dropout import Drop, dropouts
from gradscope.trace.program import Tracer

PARAMS = {"w": jnp.ones((4, 4)), "v": jnp.ones((4, 4)), "g": jnp.ones(4)}
BATCH = {"x": jnp.ones((6, 4)), "y": jnp.ones((6, 4))}
KEEP = 0.75
Function = Callable[[Any, Any], Any]


def by_hand(x: Any, key: Any) -> Any:
    return x * jax.random.bernoulli(key, KEEP, x.shape) / KEEP


def chosen(x: Any, key: Any) -> Any:
    return jnp.where(jax.random.uniform(key, x.shape) < 1 - KEEP, 0.0, x)


def scaled_mask(x: Any, key: Any) -> Any:
    return (jax.random.bernoulli(key, KEEP, x.shape).astype(x.dtype) / KEEP) * x


def zeros_first(x: Any, key: Any) -> Any:
    return jnp.where(~jax.random.bernoulli(key, 1 - KEEP, x.shape), x / KEEP, jnp.zeros_like(x))


def whole_rows(x: Any, key: Any) -> Any:
    return jnp.where(jax.random.bernoulli(key, KEEP, (len(x), 1)), x / KEEP, 0)


MADE: dict[str, Function] = {
    "by hand": by_hand,
    "chosen": chosen,
    "a scaled mask": scaled_mask,
    "the other way round": zeros_first,
    "whole rows": whole_rows,
    "flax": lambda x, key: nn.Dropout(1 - KEEP, deterministic=False).apply({}, x, rngs={"dropout": key}),
    "equinox": lambda x, key: eqx.nn.Dropout(1 - KEEP)(x, key=key),
    "each row": lambda x, key: jax.vmap(by_hand)(x, jax.random.split(key, len(x))),
    "compiled": lambda x, key: jax.jit(chosen)(x, key),
    "checkpointed": lambda x, key: jax.checkpoint(by_hand)(x, key),
    "in half precision": lambda x, key: by_hand(x.astype(jnp.bfloat16), key).astype(x.dtype),
    "a loop": lambda x, key: jax.lax.scan(lambda h, k: (by_hand(h, k), None), x, jax.random.split(key, 2))[0],
}


def found(loss: Any) -> list[Drop]:
    program = Tracer(Problem(loss, PARAMS, BATCH)).trace(BATCH)
    return dropouts(program.body, program.plan, len(program.leaves))


def squared(output: Any, batch: Any) -> Any:
    return jnp.mean((output - batch["y"]) ** 2)


@pytest.mark.parametrize("name", MADE)
def test_behind_the_last_layer_it_is_on_the_output_whoever_wrote_it(name: str) -> None:
    (drop,) = found(lambda p, b, key: squared(MADE[name](b["x"] @ p["w"], key), b))
    assert drop.last
    assert drop.site is not None or name == "a loop"


def test_haiku_has_it_too() -> None:
    net = hk.transform(lambda x: hk.dropout(hk.next_rng_key(), 1 - KEEP, x))
    (drop,) = found(lambda p, b, key: squared(net.apply({}, key, b["x"] @ p["w"]), b))
    assert drop.last


BEHIND: dict[str, Any] = {
    "a layer": lambda p, b, key: squared(jnp.tanh(by_hand(b["x"] @ p["w"], key)) @ p["v"], b),
    "a scale": lambda p, b, key: squared(by_hand(b["x"] @ p["w"], key) * p["g"], b),
    "a residual block and a layer": lambda p, b, key: squared(
        (b["x"] + by_hand(b["x"] @ p["w"], key)) @ p["v"], b
    ),
    "weights of an attention": lambda p, b, key: squared(
        by_hand(jax.nn.softmax(b["x"] @ p["w"] @ b["x"].T), key) @ (b["x"] @ p["v"]), b
    ),
}
NOT_BEHIND: dict[str, Any] = {
    "a bias": lambda p, b, key: squared(by_hand(b["x"] @ p["w"], key) + p["g"], b),
    "a softmax": lambda p, b, key: -jnp.mean(b["y"] * jax.nn.log_softmax(by_hand(b["x"] @ p["w"], key))),
    "a product with the batch": lambda p, b, key: squared(b["x"] * by_hand(b["x"] @ p["w"], key), b),
}


@pytest.mark.parametrize(("name", "last"), [*((n, False) for n in BEHIND), *((n, True) for n in NOT_BEHIND)])
def test_what_stands_behind_it_decides_whether_it_is_on_the_output(name: str, last: bool) -> None:
    (drop,) = found({**BEHIND, **NOT_BEHIND}[name])
    assert drop.last is last


def masked_loss(params: Any, batch: Any, key: Any) -> Any:
    mask = jax.random.bernoulli(key, 0.5, (6, 4))
    return jnp.sum(mask * (batch["x"] @ params["w"] - batch["y"]) ** 2) / jnp.sum(mask)


def filled_in(params: Any, batch: Any, key: Any) -> Any:
    mask = jax.random.bernoulli(key, 0.5, (6, 4))
    output = jnp.where(mask, 0.0, batch["x"]) @ params["w"]
    return jnp.mean(jnp.where(mask, (output - batch["x"]) ** 2, 0.0))


OTHERS: dict[str, Any] = {
    "elements of the loss that are counted": masked_loss,
    "elements to be filled in": filled_in,
    "of the input": lambda p, b, key: squared(by_hand(b["x"], key) @ p["w"], b),
    "of weights": lambda p, b, key: squared(b["x"] @ by_hand(p["w"], key), b),
    "a rate of the batch": lambda p, b, key: squared(
        jnp.where(jax.random.uniform(key, (6, 4)) < b["y"], 0.0, b["x"] @ p["w"]), b
    ),
    "a ReLU": lambda p, b, key: squared(jnp.where(b["x"] @ p["w"] > 0, b["x"] @ p["w"], 0.0), b),
    "noise": lambda p, b, key: squared(b["x"] @ p["w"] + jax.random.normal(key, (6, 4)), b),
    "another choice": lambda p, b, key: squared(
        jnp.where(jax.random.bernoulli(key, 0.5, (6, 4)), b["x"] @ p["w"], b["x"] @ p["v"]), b
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_random_masks_are_none(name: str) -> None:
    assert found(OTHERS[name]) == []
