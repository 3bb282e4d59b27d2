"""How many custom rules of the user a gradient goes through: what an unverified verdict has to say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import lax

import gradscope
from tests.verification.made import ruled

PARAMS = {"w": jnp.ones((3, 3)), "v": jnp.ones(3)}
X = jnp.ones((2, 3))


def through(act: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda params, x: jnp.sum(act(x @ params["w"]) * params["v"])


def twice(act: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: act(act(x))


def in_a_loop(act: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: lax.scan(lambda h, _: (act(h), None), x, None, length=3)[0]


def one() -> Callable[[Any], Any]:
    """It turns the gradient around, on purpose: no check finds that right."""
    return ruled(lambda x, g: -g)


CASES: dict[str, tuple[Callable[[Any, Any], Any], int]] = {
    "none": (through(jnp.tanh), 0),
    "those of JAX itself": (through(lambda x: jax.nn.relu(jax.nn.silu(x))), 0),
    "one": (through(one()), 1),
    "one, called twice": (through(twice(one())), 1),
    "one in a jit in a loop": (through(in_a_loop(jax.jit(one()))), 1),
    "cut off": (lambda params, x: through(jnp.tanh)(params, lax.stop_gradient(one()(x))), 0),
    "of the data alone": (lambda params, x: through(jnp.tanh)(params, one()(x)), 0),
    "of no use to the loss": (lambda params, x: (through(jnp.tanh)(params, x), one()(params["w"])), 0),
}


@pytest.mark.parametrize("name", CASES)
def test_only_rules_of_the_user_on_the_way_of_a_gradient_count(name: str) -> None:
    loss_fn, count = CASES[name]
    report = gradscope.check(loss_fn, PARAMS, X)
    assert report.flow is not None
    assert report.flow.custom_rules == count
    assert ("custom derivative rule" in report.unexamined[0]) == bool(count)
