"""Another start is tried where the signal suffers: what it brings decides between an error and a note."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from gradscope.records import Finding, Report, Severity
from gradscope.runs.check import check_loss

RULE = "mis-scaled-initialization"
X = jax.random.normal(jax.random.key(1), (128, 16))
Y = jnp.argmax(X[:, :4] + X[:, 4:8] * X[:, 8:12], axis=1)
SIZES = 16, 64, 64, 4


def scaled(*factors: float, bias: float = 0.0, sizes: tuple[int, ...] = SIZES) -> Any:
    """LeCun initialization times a factor for each layer; the bias is the second layer's."""
    keys = jax.random.split(jax.random.key(0), len(factors))
    shapes = list(itertools.pairwise(sizes))
    return [
        {"w": jax.random.normal(key, (a, b)) * factor / a**0.5, "b": jnp.full(b, bias if i == 1 else 0.0)}
        for i, (key, factor, (a, b)) in enumerate(zip(keys, factors, shapes, strict=True))
    ]


def network(function: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    def loss(layers: Any, batch: Any) -> Any:
        x, y = batch
        for layer in layers[:-1]:
            x = function(x @ layer["w"] + layer["b"])
        x = x @ layers[-1]["w"] + layers[-1]["b"]
        return optax.softmax_cross_entropy_with_integer_labels(x, y).mean()

    return loss


def checked(loss: Any, params: Any, optimizer: Any, scale: float = 1.0) -> Report:
    return check_loss(lambda p, b: scale * loss(p, b), params, (X, Y), optimizer=optimizer)


def of_rule(report: Report, rule: str = RULE) -> list[Finding]:
    return [finding for finding in report.findings if finding.rule == rule]


def tiny() -> Report:
    return checked(network(jax.nn.relu), scaled(1e-3, 1e-3, 1e-3), optax.sgd(0.1))


def saturated() -> Report:
    return checked(network(jnp.tanh), scaled(100.0, 60.0, 30.0), optax.adam(1e-4))


def dead_by_bias() -> Report:
    return checked(network(jax.nn.relu), scaled(1.4, 1.4, 1.0, bias=-5.0), optax.adam(1e-3))


class Net(nnx.Module):
    def __init__(self, factor: float) -> None:
        init = nnx.initializers.normal(factor)
        rngs = nnx.Rngs(0)
        self.first = nnx.Linear(16, 64, kernel_init=init, rngs=rngs)
        self.second = nnx.Linear(64, 64, kernel_init=init, rngs=rngs)
        self.third = nnx.Linear(64, 4, kernel_init=init, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.third(jax.nn.sigmoid(self.second(jax.nn.sigmoid(self.first(x)))))


def saturated_nnx() -> Report:
    def loss(model: Any, batch: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(model(batch[0]), batch[1]).mean()

    return checked(loss, Net(60.0), optax.adam(1e-3))


def tiny_equinox() -> Report:
    model = eqx.nn.MLP(16, 4, 64, 2, key=jax.random.key(0))
    model = jax.tree.map(lambda leaf: leaf * 2e-3 if eqx.is_inexact_array(leaf) else leaf, model)

    def loss(model: Any, batch: Any) -> Any:
        logits = jax.vmap(model)(batch[0])
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch[1]).mean()

    return checked(loss, model, optax.adam(1e-4))


SICK = [tiny, saturated, dead_by_bias, saturated_nnx, tiny_equinox]


@pytest.mark.few(2)
@pytest.mark.parametrize("sick", SICK)
def test_weights_that_hold_the_training_up_are_one_error(sick: Callable[[], Report]) -> None:
    report = sick()
    (finding,) = of_rule(report)
    # Half of its units are dead, and it learns with the others, more slowly.
    assert finding.severity is (Severity.WARNING if sick is dead_by_bias else Severity.ERROR)
    assert finding.source is not None
    start = report.training.rescaled  # type: ignore[union-attr]
    assert start is not None
    assert start.end < start.end_without
    assert [f.rule for f in report.findings if f.severity is not Severity.NOTE] == [RULE]


def test_the_finding_says_what_was_changed_and_what_it_brought() -> None:
    (finding,) = of_rule(dead_by_bias())
    assert "mean" in finding.message
    assert finding.remedy.startswith("Start the bias of")
    assert "dead-units" in str(finding.evidence["silenced"])
    (finding,) = of_rule(tiny())
    assert "initialization: standard deviation" in finding.remedy
    assert finding.layer is not None
    assert "0" in finding.layer


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_scale_of_the_loss_changes_no_verdict_under_adam(scale: float) -> None:
    loss, optimizer = network(jnp.tanh), optax.adam(1e-4, eps=1e-20)
    assert of_rule(checked(loss, scaled(100.0, 60.0, 30.0), optimizer, scale))
    assert not of_rule(checked(loss, scaled(1.0, 1.0, 1.0), optimizer, scale))


def test_saturated_units_that_train_are_a_note() -> None:
    report = checked(network(jnp.tanh), scaled(6.0, 6.0, 1.0), optax.adam(1e-2))
    assert not of_rule(report)
    (finding,) = of_rule(report, "saturated-units")
    assert finding.severity is Severity.NOTE
    assert "It may do no harm" in finding.message


@pytest.mark.parametrize("function", [jax.nn.relu, jnp.tanh, jax.nn.gelu, jax.nn.sigmoid])
def test_usual_initializations_are_quiet(function: Callable[[Any], Any]) -> None:
    for optimizer in (optax.adam(1e-3), optax.sgd(0.1)):
        report = checked(network(function), scaled(1.0, 1.0, 1.0), optimizer)
        assert report.training is not None
        assert report.training.rescaled is None
        assert not of_rule(report)


def test_a_head_that_begins_at_zero_is_quiet() -> None:
    report = checked(network(jax.nn.relu), scaled(1.4, 1.4, 0.0), optax.adam(1e-3))
    assert report.findings == ()


def test_a_trained_network_with_sparse_units_is_no_error() -> None:
    """Its weights are good: from any other start it would have to be learned anew."""
    loss, params = network(jax.nn.relu), scaled(1.4, 1.4, 1.0, bias=-0.5)
    optimizer = optax.adam(1e-2)
    state = optimizer.init(params)

    @jax.jit
    def step(params: Any, state: Any) -> Any:
        gradients = jax.grad(loss)(params, (X, Y))
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(params, updates), state

    for _ in range(300):
        params, state = step(params, state)
    report = checked(loss, params, optax.adam(1e-4))
    assert all(finding.severity is not Severity.ERROR for finding in report.findings)


def test_no_weight_of_the_user_changes() -> None:
    params = scaled(1e-3, 1e-3, 1e-3)
    before = jax.tree.map(np.array, params)
    checked(network(jax.nn.relu), params, optax.sgd(0.1))
    jax.tree.map(np.testing.assert_array_equal, before, params)


def test_a_repair_in_part_is_told_what_still_holds_it_up() -> None:
    """Leaky in place of dead units, with the biases that killed them: rows are alike by these alone."""
    params = scaled(1.4, 1.4, 1.0, bias=-8.0)
    params[0]["b"] = jnp.full(64, -5.0)
    (finding,) = of_rule(checked(network(jax.nn.leaky_relu), params, optax.adam(1e-3)))
    assert finding.severity is not Severity.NOTE
    assert " from 0)" in finding.message
    assert finding.remedy.startswith("Start the bias of")


def test_a_network_without_such_biases_is_quiet() -> None:
    report = checked(network(jax.nn.leaky_relu), scaled(1.4, 1.4, 1.0, bias=-0.5), optax.adam(1e-3))
    assert of_rule(report) == []
