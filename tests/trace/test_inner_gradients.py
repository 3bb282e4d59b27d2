"""A loss that differentiates inside: physics-informed nets, meta-learning, gradient penalties, flows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gradscope.records import Connection, Severity
from gradscope.runs.check import check_loss
from tests.trace import oracle
from tests.trace.oracle import BATCH, TWO, agreeing, apply, dense, error, two_layers

FIELD = {"l1": dense(1, 1, 4), "l2": dense(2, 4, 4), "l3": dense(3, 4, 1)}
TIMES = np.linspace(0, 1, 8).astype(np.float32)


def field(p: Any, t: Any) -> Any:
    return apply(p["l3"], jnp.tanh(apply(p["l2"], jnp.tanh(apply(p["l1"], t[None])))))[0]


def by_jvp(p: Any, t: Any) -> Any:
    return jax.jvp(lambda t: field(p, t), (t,), (1.0,))[1]


DERIVATIVES: dict[str, Callable[[Any, Any], Any]] = {
    "grad of grad": jax.grad(jax.grad(field, 1), 1),
    "jvp": by_jvp,
    "hessian": jax.hessian(field, 1),
}


@pytest.mark.parametrize("derivative", DERIVATIVES.values(), ids=DERIVATIVES)
def test_a_physics_loss_has_the_layers_of_its_net(derivative: Callable[[Any, Any], Any]) -> None:
    def loss(p: Any, t: Any) -> Any:
        return jnp.mean(jax.vmap(lambda t: derivative(p, t) + field(p, t))(t) ** 2)

    found = agreeing(loss, FIELD, TIMES, rtol=1e-5)
    assert oracle.names(found) == ["l1", "l2", "l3"]
    assert [layer.fan_in for layer in found.layers] == [1, 4, 4]
    assert [layer.depth for layer in found.layers] == [1, 2, 3]
    assert [layer.activation for layer in found.layers] == ["tanh", "tanh", None]
    assert found.unseen == ()


def test_a_physics_loss_that_makes_its_own_points_has_sites() -> None:
    def loss(p: Any) -> Any:
        t = jnp.linspace(0, 1, 8)
        return jnp.mean(jax.vmap(lambda t: jax.grad(field, 1)(p, t) + field(p, t))(t) ** 2)

    found = agreeing(loss, FIELD, rtol=1e-5)
    assert [layer.delta_rms is not None for layer in found.layers] == [True] * 3
    assert [layer.depth for layer in found.layers] == [1, 2, 3]


def test_the_last_bias_is_disconnected_where_only_derivatives_count() -> None:
    def loss(p: Any, t: Any) -> Any:
        return jnp.mean((jax.vmap(lambda t: jax.grad(field, 1)(p, t))(t) - 1) ** 2)

    found = agreeing(loss, FIELD, TIMES, rtol=1e-5)
    disconnected = [
        name for name, how in oracle.connections(found).items() if how is not Connection.CONNECTED
    ]
    assert disconnected == ["l3.b"]


def inner(p: Any, b: Any) -> Any:
    return error(two_layers(p, b[0]), b[1])


def adapted(p: Any, b: Any) -> Any:
    return jax.tree.map(lambda w, g: w - 0.1 * g, p, jax.grad(inner)(p, b))


META: dict[str, Callable[[Any, Any], Any]] = {
    "unrolled": lambda p, b: inner(adapted(adapted(p, b), b), b),
    "in a scan": lambda p, b: inner(lax.scan(lambda p, _: (adapted(p, b), None), p, None, length=2)[0], b),
    "first order": lambda p, b: inner(
        jax.tree.map(lambda w, g: w - 0.1 * g, p, lax.stop_gradient(jax.grad(inner)(p, b))), b
    ),
    "vmapped over tasks": lambda p, b: jnp.mean(
        jax.vmap(lambda x, y: inner(adapted(p, (x, y)), (x, y)))(b[0].reshape(2, 4, 4), b[1].reshape(2, 4, 4))
    ),
}


@pytest.mark.parametrize("loss", META.values(), ids=META)
def test_meta_learning_has_the_layers_of_its_net(loss: Callable[[Any, Any], Any]) -> None:
    found = agreeing(loss, TWO, BATCH, rtol=1e-5)
    assert oracle.names(found) == ["first", "second"]
    assert set(oracle.connections(found).values()) == {Connection.CONNECTED}
    assert found.unseen == ()


def test_a_gradient_penalty_leaves_delta_that_of_the_forward_pass_alone() -> None:
    def network(p: Any, b: Any, bump: Any) -> Any:
        def critic(x: Any, bump: Any = oracle.unbumped) -> Any:
            h = jnp.tanh(bump("first", apply(p["first"], x)))
            return bump("second", apply(p["second"], h))

        slope = jax.vmap(jax.grad(lambda x: jnp.sum(critic(x))))(b[0])
        return error(critic(b[0], bump), b[1]) + jnp.mean((jnp.linalg.norm(slope, axis=-1) - 1) ** 2)

    found = agreeing(lambda p, b: network(p, b, oracle.unbumped), TWO, BATCH, rtol=1e-5)
    slow = oracle.deltas(network, TWO, BATCH)
    second = oracle.layer(found, "second")
    assert oracle.names(found) == ["first", "second"]
    assert second.delta_norm == pytest.approx(oracle.norm(slow["second"]), rel=1e-5)


def test_a_flow_of_jacobians_has_the_layers_of_its_net() -> None:
    def loss(p: Any, b: Any) -> Any:
        jacobians = jax.vmap(jax.jacfwd(lambda x: two_layers(p, x)))(b[0])
        return inner(p, b) - jnp.mean(jnp.linalg.slogdet(jacobians)[1])

    assert oracle.names(agreeing(loss, TWO, BATCH, rtol=1e-5)) == ["first", "second"]


def energy(p: Any, x: Any) -> Any:
    return (jnp.tanh(x @ p["first"]["w"] + p["first"]["b"]) @ p["last"]["w"] + p["last"]["b"])[0]


ENERGY = {
    "first": {"w": oracle.normal(1, 3, 8), "b": oracle.normal(2, 8)},
    "last": {"w": oracle.normal(3, 8, 1), "b": oracle.normal(4, 1)},
}


def test_the_last_bias_under_a_derivative_is_told_and_no_error() -> None:
    def score(p: Any, x: Any) -> Any:
        slopes = jax.vmap(jax.grad(energy, argnums=1), (None, 0))(p, x)
        return jnp.mean((jnp.sum(slopes**2, -1) - 1.0) ** 2)

    report = check_loss(score, ENERGY, oracle.normal(5, 16, 3))
    by_name = {parameter.name: parameter.connection for parameter in report.flow.parameters}
    assert by_name.pop("last.b") is Connection.DERIVATIVE
    assert set(by_name.values()) == {Connection.CONNECTED}
    assert [(f.rule, f.severity) for f in report.findings] == [("disconnected-parameter", Severity.NOTE)]


@pytest.mark.parametrize("derivative", [jax.grad, jax.hessian], ids=["grad", "hessian"])
def test_the_line_of_the_last_layer_under_a_derivative_is_that_of_its_product(derivative: Any) -> None:
    def potential(p: Any, x: Any) -> Any:
        h = x @ p["first"]["w"] + p["first"]["b"]
        h = jnp.sin(3.0 * h)
        return (h @ p["last"]["w"] + p["last"]["b"])[0]

    def force(p: Any, x: Any) -> Any:
        return jnp.mean((jax.vmap(derivative(potential, argnums=1), (None, 0))(p, x) - 1.0) ** 2)

    def both(p: Any, x: Any) -> Any:
        return force(p, x) + jnp.mean(jax.vmap(potential, (None, 0))(p, x) ** 2)

    for loss in (force, both):
        report = check_loss(loss, ENERGY, oracle.normal(5, 16, 3))
        lines = [layer.source.text for layer in report.flow.layers if layer.source is not None]
        assert lines == [
            'h = x @ p["first"]["w"] + p["first"]["b"]',
            'return (h @ p["last"]["w"] + p["last"]["b"])[0]',
        ]


def test_a_bias_whose_sum_is_thrown_away_is_an_error() -> None:
    def forgotten(p: Any, x: Any) -> Any:
        z = jnp.tanh(x @ p["first"]["w"] + p["first"]["b"]) @ p["last"]["w"]
        z + p["last"]["b"]
        return jnp.mean(z**2)

    report = check_loss(forgotten, ENERGY, oracle.normal(5, 16, 3))
    assert [(f.severity, f.parameter) for f in report.findings] == [(Severity.ERROR, "last.b")]
