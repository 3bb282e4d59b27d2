"""Normalizations over the places of an example, exchanged for such over the features of each place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax

from gradscope.load.problem import Problem
from gradscope.measure.normalized_places import normalizations, normalized_places
from gradscope.records import Finding, Severity
from gradscope.runs.check import check_loss
from gradscope.trace.jaxprs.rewriting import with_functions
from gradscope.trace.program import Tracer

B, T, F, D = 64, 5, 4, 8
RNG = np.random.default_rng(0)
LEVEL = RNG.normal(size=(B, 1, 1))
X = (LEVEL * np.array([1, 2, -1, 0.5]) + 0.3 * RNG.normal(size=(B, T, F))).astype(np.float32)
Y = np.sign(LEVEL[:, 0, 0]).astype(np.float32)
PARAMS = {
    "w": (RNG.normal(size=(F, D)) / 2).astype(np.float32),
    "b": np.zeros(D, np.float32),
    "scale": np.ones(D, np.float32),
    "v": (RNG.normal(size=D) / 3).astype(np.float32),
}


def divided(x: Any, axis: Any) -> Any:
    return (x - x.mean(axis, keepdims=True)) / (x.std(axis, keepdims=True) + 1e-5)


def multiplied(x: Any, axis: Any) -> Any:
    mean = jnp.mean(x, axis, keepdims=True)
    variance = jnp.mean((x - mean) ** 2, axis, keepdims=True)
    return (x - mean) * lax.rsqrt(variance + 1e-5)


def rooted(x: Any, axis: Any) -> Any:
    return (x - jnp.mean(x, axis, keepdims=True)) / jnp.sqrt(jnp.var(x, axis, keepdims=True) + 1e-5)


Normalize = Callable[[Any, Any], Any]
FORMS: dict[str, Normalize] = {
    "over the deviation": divided,
    "times the inverse root": multiplied,
    "over the root": rooted,
    "jit": jax.jit(divided, static_argnums=1),
    "remat": jax.checkpoint(rooted, static_argnums=1),
    "vmap": lambda x, axis: jax.vmap(lambda row: divided(row, -1 if axis == -1 else axis - 1))(x),
}


def loss_of(normalize: Normalize, axis: Any = 1) -> Callable[[Any, Any], Any]:
    def loss(p: Any, batch: Any) -> Any:
        x, y = batch
        h = jax.nn.gelu(p["scale"] * normalize(x @ p["w"] + p["b"], axis))
        return jnp.mean(((h @ p["v"]).mean(1) - y) ** 2)

    return loss


def found(loss: Any, batch: Any = (X, Y)) -> Any:
    tracer = Tracer(Problem(loss, PARAMS, batch))
    program = tracer.trace(batch)
    return program, tracer.inputs(batch), normalizations(program)


@pytest.mark.parametrize("name", FORMS)
def test_it_is_exchanged_for_one_over_the_features(name: str) -> None:
    program, inputs, norms = found(loss_of(FORMS[name]))
    (record,) = normalized_places(norms)
    assert (record.shape, record.axes) == ((B, T, D), (1,))
    body = with_functions(program.body, norms[0].functions)
    other = jax.core.eval_jaxpr(body.jaxpr, body.consts, *inputs.weights, *inputs.others)[0]
    np.testing.assert_allclose(other, loss_of(FORMS[name], -1)(PARAMS, (X, Y)), rtol=1e-4)


def images(p: Any, batch: Any) -> Any:
    return loss_of(lambda h, _: divided(h.reshape(B, T, 2, D // 2), (1, 2)).reshape(B, T, D))(p, batch)


def test_rows_and_columns_of_an_image_are_places() -> None:
    _, _, norms = found(images)
    assert normalized_places(norms)[0].axes == (1, 2)


def of_the_data(p: Any, batch: Any) -> Any:
    return loss_of(lambda h, _: jnp.tanh(h))(p, (divided(batch[0], 1), batch[1]))


def softmax(p: Any, batch: Any) -> Any:
    return loss_of(lambda h, _: jax.nn.softmax(h, 1))(p, batch)


def centered(p: Any, batch: Any) -> Any:
    return loss_of(lambda h, _: (h - h.mean(1, keepdims=True)) / 2.0)(p, batch)


OTHERS = {
    "features": loss_of(divided, -1),
    "batch": loss_of(divided, 0),
    "batch and places": loss_of(rooted, (0, 1)),
    "places and features": loss_of(rooted, (1, 2)),
    "data": of_the_data,
    "softmax": softmax,
    "centered": centered,
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_axes_the_data_and_other_functions_are_none(name: str) -> None:
    assert found(OTHERS[name])[2] == []


def told(loss: Any, batch: Any) -> list[Finding]:
    report = check_loss(loss, PARAMS, batch, optimizer=optax.adam(1e-2))
    assert not [each for each in report.skipped if "itself" in each.reason]
    return [finding for finding in report.findings if finding.rule == "normalized-away"]


@pytest.mark.parametrize("scale", [1.0, 1e-5])
def test_what_takes_the_level_away_is_an_error(scale: float) -> None:
    (finding,) = told(lambda p, b: scale * loss_of(divided)(p, b), (X, Y))
    assert finding.severity is Severity.ERROR
    assert "normalized over axis 1" in finding.message


def test_what_takes_a_level_away_that_means_nothing_is_quiet() -> None:
    """The shape of a series counts, not where it lies."""
    wave = np.sin(np.arange(T)[None, :, None] * (1 + (Y[:, None, None] > 0)))
    series = (wave + 3 * RNG.permutation(LEVEL) + 0.1 * RNG.normal(size=(B, T, F))).astype(np.float32)
    assert told(loss_of(divided), (series, Y)) == []
