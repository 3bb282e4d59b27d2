"""Normalizations over a single element, read from the program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax

from gradscope.load.problem import Problem
from gradscope.measure.lone_elements import lone_normalizations
from gradscope.records import Finding, LoneNormalization, Severity
from gradscope.runs.check import check_loss
from gradscope.trace.program import Tracer

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 8)).astype(np.float32)
PARAMS = {
    "w": (RNG.normal(size=(8, 6)) / 3).astype(np.float32),
    "scale": np.ones(6, np.float32),
    "bias": np.zeros(6, np.float32),
    "v": (RNG.normal(size=(6, 1)) / 3).astype(np.float32),
}
Normalize = Callable[[Any, Any, Any, Any], Any]


def divided(h: Any, axis: Any, scale: Any, bias: Any) -> Any:
    return (h - h.mean(axis, keepdims=True)) / (h.std(axis, keepdims=True) + 1e-5) * scale + bias


def by_squares(h: Any, axis: Any, scale: Any, bias: Any) -> Any:
    """As Flax and Haiku write it."""
    mean = jnp.mean(h, axis, keepdims=True)
    variance = jnp.maximum(0.0, jnp.mean(h**2, axis, keepdims=True) - mean**2)
    return (h - mean) * (lax.rsqrt(variance + 1e-5) * scale) + bias


def apart(h: Any, axis: Any, scale: Any, bias: Any) -> Any:
    """As Keras writes it."""
    factor = lax.rsqrt(jnp.var(h, axis, keepdims=True) + 1e-3) * scale
    return h * factor + (-jnp.mean(h, axis, keepdims=True) * factor + bias)


def over_devices(h: Any, axis: Any, scale: Any, bias: Any) -> Any:
    """As Equinox writes it."""
    del axis

    def one(row: Any) -> Any:
        mean = lax.pmean(row, "batch")
        return (row - mean) / jnp.sqrt(lax.pmean((row - mean) ** 2, "batch") + 1e-5) * scale + bias

    return jax.vmap(one, axis_name="batch")(h)


FORMS: dict[str, Normalize] = {
    "over the deviation": divided,
    "by the mean of squares": by_squares,
    "each divided": apart,
    "vmap": over_devices,
    "jit": jax.jit(by_squares, static_argnums=1),
    "remat": jax.checkpoint(by_squares, static_argnums=1),
}


def loss_of(normalize: Normalize, axis: Any = 0) -> Callable[[Any, Any], Any]:
    def loss(p: Any, x: Any) -> Any:
        h = jax.nn.relu(normalize(x @ p["w"], axis, p["scale"], p["bias"]))
        return jnp.mean((h @ p["v"] - 1.0) ** 2)

    return loss


def found(loss: Any, batch: Any, params: Any = PARAMS) -> list[LoneNormalization]:
    return list(lone_normalizations(Tracer(Problem(loss, params, batch)).trace(batch), batch))


@pytest.mark.parametrize("name", FORMS)
def test_a_batch_of_one_is_its_own_mean(name: str) -> None:
    loss = loss_of(FORMS[name])
    (lone,) = found(loss, X[:1])
    assert (lone.shape, lone.axes, lone.layers) == ((1, 6), (0,), ("w",))
    gradient = jax.grad(loss)(PARAMS, X[:1])["w"]
    assert not np.any(gradient) or np.all(np.isnan(gradient)), "a deviation of 0 has no derivative"
    assert found(loss, X) == []


def test_members_of_an_ensemble_are_told_from_examples() -> None:
    def members(p: Any, x: Any) -> Any:
        h = (x @ p["w"])[None]
        return jnp.mean(((h - h.mean(0)) / jnp.sqrt(h.var(0) + 1e-5)) ** 2)

    (lone,) = found(members, X)
    assert (lone.axes, lone.examples) == ((0,), len(X))
    (lone,) = found(loss_of(next(iter(FORMS.values()))), X[:1])
    assert lone.examples == 0


def test_half_precision_is_looked_through() -> None:
    def half(h: Any, axis: Any, scale: Any, bias: Any) -> Any:
        return by_squares(h.astype(jnp.bfloat16).astype(jnp.float32), axis, scale, bias)

    assert found(loss_of(half), X[:1])


def test_one_feature_and_groups_of_one_channel_are_their_own_mean() -> None:
    def of_one_feature(p: Any, x: Any) -> Any:
        return jnp.sum(by_squares(x @ p["v0"], -1, 1.0, 0.0) * x)

    def of_groups(p: Any, x: Any) -> Any:
        layers = eqx.nn.GroupNorm(6, 6), eqx.nn.GroupNorm(2, 6)
        return sum(jnp.sum(jax.vmap(norm)(x @ p["w"])) for norm in layers)

    v0 = {"v0": np.ones((8, 1), np.float32)}
    assert [(each.shape, each.axes) for each in found(of_one_feature, X, v0)] == [((4, 1), (1,))]
    assert [each.axes for each in found(of_groups, X, {"w": PARAMS["w"]})] == [(2,)]


def running(p: Any, x: Any) -> Any:
    h = x @ p["w"]
    return jnp.sum(((h - jnp.zeros(6)) / jnp.sqrt(jnp.ones(6) + 1e-5) * p["scale"]) ** 2)


def of_the_data(p: Any, x: Any) -> Any:
    return jnp.sum(divided(x, 0, 1.0, 0.0) @ p["w"])


def of_squares_alone(p: Any, x: Any) -> Any:
    h = x @ p["w"]
    return jnp.sum(h / jnp.sqrt(jnp.mean(h**2, 0, keepdims=True) + 1e-5))


def centered(p: Any, x: Any) -> Any:
    """As the advantages of a network that has one action."""
    h = x @ p["w"]
    return jnp.sum((h - h.mean(0, keepdims=True)) + x.sum())


def of_places(p: Any, x: Any) -> Any:
    image = (x @ p["w"]).reshape(1, 2, 3, 1)
    return jnp.sum(by_squares(image, (0, 1, 2), 1.0, 0.0) ** 3)


@pytest.mark.parametrize("loss", [running, of_the_data, of_squares_alone, centered, of_places])
def test_one_example_that_is_not_normalized_away_is_none(loss: Any) -> None:
    assert found(loss, X[:1]) == []


def told(loss: Any, batch: Any) -> list[Finding]:
    report = check_loss(loss, PARAMS, batch, optimizer=optax.adam(1e-2))
    assert not [each for each in report.skipped if "itself" in each.reason]
    return [finding for finding in report.findings if finding.severity is not Severity.NOTE]


@pytest.mark.parametrize("scale", [1.0, 1e-6])
def test_it_is_the_one_cause_of_all_gradients_that_are_zero(scale: float) -> None:
    def loss(p: Any, x: Any) -> Any:
        return scale * loss_of(by_squares)(p, x)

    (finding,) = told(loss, X[:1])
    assert (finding.rule, finding.severity, finding.layer) == ("normalized-away", Severity.ERROR, "w")
    assert "No gradient goes back to `w`." in finding.message
    assert "zero-gradient" in str(finding.evidence["silenced"])


def test_with_a_way_around_it_is_a_warning() -> None:
    def loss(p: Any, x: Any) -> Any:
        h = x @ p["w"]
        return jnp.mean(((jnp.tanh(h) + by_squares(h, 0, p["scale"], p["bias"])) @ p["v"] - 1.0) ** 2)

    (finding,) = [each for each in told(loss, X[:1]) if each.rule == "normalized-away"]
    assert finding.severity is Severity.WARNING
    assert "No gradient" not in finding.message
