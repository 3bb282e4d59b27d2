"""Leaves that are no weight or bias of the module in which they lie have a row of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from tests.trace import oracle
from tests.trace.oracle import BATCH, TWO, agreeing, apply, error, normal

NOISE = normal(7, 8, 4)
Net = Callable[[Any, Any], Any]


def standardized(x: Any) -> Any:
    return (x - x.mean(-1, keepdims=True)) * lax.rsqrt(x.var(-1, keepdims=True) + 1e-5)


APART: dict[str, tuple[Net, str]] = {
    "a log of a deviation for noise": (lambda q, z: z + jnp.exp(q["log_std"]) * NOISE, "log_std"),
    "a log of a deviation that divides": (lambda q, z: z * jnp.exp(-q["log_std"]), "log_std"),
    "a temperature": (lambda q, z: z / q["temperature"], "temperature"),
    "a scale of logits": (lambda q, z: z * jnp.exp(q["logit_scale"]), "logit_scale"),
}


@pytest.mark.parametrize("name", APART)
def test_a_number_of_the_module_has_its_row(name: str) -> None:
    net, leaf = APART[name]
    constant = jnp.full((), 0.7) if leaf in ("temperature", "logit_scale") else jnp.full(4, 0.7)
    params = {"actor": {**TWO["first"], leaf: constant}, "second": TWO["second"]}

    def loss(p: Any, b: Any) -> Any:
        return error(apply(p["second"], jnp.tanh(net(p["actor"], apply(p["actor"], b[0])))), b[1])

    found = agreeing(loss, params, BATCH)
    assert {layer.name: layer.parameters for layer in found.layers} == {
        "actor": ("actor.b", "actor.w"),
        f"actor.{leaf}": (f"actor.{leaf}",),
        "second": ("second.b", "second.w"),
    }
    assert oracle.layer(found, "actor").op == "dot_general"
    assert oracle.layer(found, f"actor.{leaf}").fan_in is None


TOGETHER: dict[str, tuple[Any, Net]] = {
    "a scale and a bias": (
        {"g": normal(1, 4), "b": normal(2, 4)},
        lambda q, x: standardized(x) * q["g"] + q["b"],
    ),
    "a scale around one": ({"scale": normal(1, 4)}, lambda q, x: standardized(x) * (1 + q["scale"])),
    "a bias at a constant scale": (
        {"w": normal(1, 4, 4), "c": normal(2, 4)},
        lambda q, x: x @ (0.5 * q["w"]) + 0.1 * q["c"],
    ),
    "a bias that stays positive": (
        {"w": normal(1, 4, 4), "c": normal(2, 4)},
        lambda q, x: x @ q["w"] + jax.nn.softplus(q["c"]),
    ),
    "a scale of each output": (
        {"w": normal(1, 4, 4), "ls": normal(2, 4)},
        lambda q, x: (x @ q["w"]) * q["ls"],
    ),
    "a diagonal recurrence": (
        {"w": normal(1, 4, 4), "u": normal(2, 4)},
        lambda q, x: x @ q["w"] + jnp.tanh(x) * q["u"],
    ),
    "an embedding of positions": ({"at": normal(1, 8, 4)}, lambda q, x: x + q["at"]),
}


@pytest.mark.parametrize("name", TOGETHER)
def test_weights_and_biases_by_any_name_are_one_row(name: str) -> None:
    mine, net = TOGETHER[name]

    def loss(p: Any, b: Any) -> Any:
        return error(apply(p["second"], jnp.tanh(net(p["first"], b[0]))), b[1])

    found = agreeing(loss, {"first": mine, "second": TWO["second"]}, BATCH)
    assert oracle.names(found) == ["first", "second"]


def test_constants_of_a_simulation_are_a_row_each() -> None:
    params = {"cell": {"g": jnp.full(4, 0.3), "e": jnp.full(4, -7.0)}}

    def loss(p: Any, b: Any) -> Any:
        q = p["cell"]
        v, _ = lax.scan(lambda v, i: (v + 0.5 * (q["g"] * (q["e"] - v) + i), None), b[0], normal(3, 5, 8, 4))
        return jnp.mean(v**2)

    found = agreeing(loss, params, BATCH)
    assert sorted(oracle.names(found)) == ["cell.e", "cell.g"]
    assert sorted(oracle.recurrence(found).layers) == ["cell.e", "cell.g"]


def test_a_leaf_beside_modules_is_not_called_by_what_holds_them() -> None:
    params = {"actor": {"dense": TWO["first"], "log_std": jnp.zeros(4)}, "critic": {"radius": jnp.ones(1)}}

    def loss(p: Any, b: Any) -> Any:
        mean = apply(p["actor"]["dense"], b[0]) - p["critic"]["radius"]
        return jnp.mean((mean * jnp.exp(-p["actor"]["log_std"])) ** 2 + p["actor"]["log_std"])

    found = agreeing(loss, params, BATCH)
    assert sorted(oracle.names(found)) == ["actor.dense", "actor.log_std", "critic.radius"]
