"""The curvature of losses, against the dense Hessian and closed forms."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.flatten_util import ravel_pytree

import gradscope
from gradscope.errors import GradscopeError
from gradscope.records import Curvature, Report

RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 4)).astype(np.float32)
Y = RNG.normal(size=(32, 1)).astype(np.float32)
CURVATURES = np.asarray([-2.0, 0.5, 1.0, 8.0], np.float32)


def quadratic(params: Any, batch: Any) -> Any:
    return 0.5 * jnp.sum(batch * params["x"] ** 2)


def mlp(params: Any, batch: Any) -> Any:
    x, y = batch
    h = jnp.tanh(x @ params["first"]["w"] + params["first"]["b"])
    return jnp.mean((h @ params["out"]["w"] - y) ** 2)


PARAMS = {
    "first": {"w": RNG.normal(size=(4, 5)).astype(np.float32), "b": np.zeros(5, np.float32)},
    "out": {"w": RNG.normal(size=(5, 1)).astype(np.float32)},
    "steps": np.asarray(3),
    "key": jax.random.key(0),
}
FLOATS = {name: PARAMS[name] for name in ("first", "out")}


def shape(*args: Any, **options: Any) -> Curvature:
    return of(gradscope.curvature(*args, **options))


def of(report: Report) -> Curvature:
    assert report.curvature is not None
    return report.curvature


def dense(loss: Any, params: Any, batch: Any) -> Any:
    """Eigenvalues, and the matrix, in float64."""
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float64), (params, batch))
        flat, back = ravel_pytree(wide[0])
        matrix = np.asarray(jax.hessian(lambda w: loss(back(w), wide[1]))(flat))
    return np.linalg.eigvalsh(matrix), matrix


@pytest.fixture(scope="module")
def found() -> Curvature:
    return shape(mlp, PARAMS, (X, Y), optimizer=optax.sgd(0.1, momentum=0.9))


@pytest.fixture(scope="module")
def saddle() -> Curvature:
    return shape(quadratic, {"x": np.zeros(4, np.float32)}, CURVATURES)


def test_the_eigenvalues_of_a_small_network_are_those_of_its_dense_hessian(found: Curvature) -> None:
    values, matrix = dense(mlp, FLOATS, (X, Y))
    assert found.parameters == values.size == 30
    assert found.largest is not None
    assert found.smallest is not None
    assert found.largest.value == pytest.approx(values[-1], abs=found.largest.error + 1e-4)
    assert found.smallest.value == pytest.approx(values[0], abs=found.smallest.error + 1e-4)
    assert found.largest.converged
    assert found.trace is not None
    assert found.trace_error is not None
    assert found.trace == pytest.approx(np.trace(matrix), abs=4 * found.trace_error)
    assert sum(each.share for each in found.density) == pytest.approx(1)
    assert found.asymmetry is not None
    assert found.asymmetry < 1e-5


def test_the_sharpness_of_a_layer_is_the_largest_eigenvalue_of_its_block(found: Curvature) -> None:
    _, matrix = dense(mlp, FLOATS, (X, Y))
    blocks = {"first": slice(0, 25), "out": slice(25, 30)}
    assert [(layer.name, layer.size) for layer in found.layers] == [("first", 25), ("out", 5)]
    for layer in found.layers:
        block = matrix[blocks[layer.name], blocks[layer.name]]
        assert layer.largest is not None
        truth = np.linalg.eigvalsh(block)[-1]
        assert layer.largest.value == pytest.approx(truth, abs=layer.largest.error + 1e-4)


def test_integers_and_keys_are_neither_moved_nor_counted(found: Curvature) -> None:
    assert found.parameters == 30
    assert found.left_out == 0


def test_momentum_stands_what_theory_says(found: Curvature) -> None:
    assert found.own is not None
    assert found.own.momentum == pytest.approx(0.9)
    assert found.own.stable == pytest.approx(2 * 1.9 / 0.1, rel=0.01)
    assert found.largest is not None
    assert found.excess == pytest.approx(found.largest.value / 38, rel=0.01)


def test_the_step_along_the_gradient_is_that_of_the_quadratic_model(found: Curvature) -> None:
    step = found.gradient_step
    assert step is not None
    flat, back = ravel_pytree(FLOATS)
    gradient = ravel_pytree(jax.grad(mlp)(FLOATS, (X, Y)))[0]
    assert step.norm == pytest.approx(float(jnp.linalg.norm(gradient)), rel=1e-5)
    assert step.rate is not None
    assert step.measured == pytest.approx(
        float(mlp(FLOATS, (X, Y)) - mlp(back(flat - step.rate * gradient), (X, Y))), abs=1e-5
    )


def test_a_quadratic_is_found_exactly_and_its_model_agrees_with_what_is_measured() -> None:
    found = shape(quadratic, {"x": np.ones(4, np.float32)}, np.abs(CURVATURES), optimizer=optax.sgd(0.3))
    assert found.largest is not None
    assert found.largest.value == pytest.approx(8, rel=1e-5)
    assert found.stable_rate == pytest.approx(0.25, rel=1e-5)
    assert found.excess == pytest.approx(0.3 * 8 / 2, rel=1e-4)
    step, critical = found.gradient_step, found.critical
    assert step is not None
    assert step.measured == pytest.approx(step.predicted, rel=1e-4)
    assert critical is not None
    # Along the gradient g of curvature g'Hg / g'g the loss is back at its start at 2 / curvature.
    back = 2 / (step.curvature * 0.3)
    assert critical.below <= back
    assert critical.above is not None
    assert back <= critical.above


def test_a_saddle_is_told_with_a_direction_that_was_tried(saddle: Curvature) -> None:
    assert saddle.smallest is not None
    assert saddle.smallest.value == pytest.approx(-2, rel=1e-4)
    assert saddle.stationary
    assert saddle.negative is not None
    deepest = saddle.negative.deepest(saddle.noise)
    assert deepest is not None
    distance, fall = deepest
    assert fall == pytest.approx(distance**2, rel=1e-3)


def test_a_minimum_has_no_negative_direction() -> None:
    report = gradscope.curvature(quadratic, {"x": np.zeros(4, np.float32)}, np.abs(CURVATURES))
    found = of(report)
    assert "the gradient is zero but for rounding" in str(report.skipped)
    assert found.negative is None
    assert found.stationary
    assert found.gradient_step is None
    assert found.gauss_newton is None


def test_a_linear_loss_has_a_zero_hessian() -> None:
    found = shape(lambda p, b: jnp.sum(b * p["x"]), {"x": np.ones(4, np.float32)}, CURVATURES)
    assert found.zero
    assert found.stable_rate is None
    assert found.trace == 0


def test_a_scale_of_the_loss_scales_everything(saddle: Curvature) -> None:
    start = {"x": np.ones(4, np.float32)}
    small, large = (shape(lambda p, b, by=by: by * quadratic(p, b), start, CURVATURES) for by in (1e-4, 1e4))
    assert small.largest is not None
    assert large.largest is not None
    assert large.largest.value == pytest.approx(1e8 * small.largest.value, rel=1e-4)
    assert small.stable_rate is not None
    assert large.stable_rate == pytest.approx(1e-8 * small.stable_rate, rel=1e-4)
    assert (small.negative is None) == (large.negative is None)


def test_several_batches_are_their_mean() -> None:
    batches = [CURVATURES, 3 * CURVATURES, 100 * CURVATURES]
    found = shape(quadratic, {"x": np.ones(4, np.float32)}, batches=batches, count=2)
    assert found.batches == 2
    assert found.largest is not None
    assert found.largest.value == pytest.approx(16, rel=1e-4)


def test_numbers_of_16_bits_are_widened_and_that_is_said() -> None:
    params = {"x": jnp.ones(4, jnp.bfloat16)}
    report = gradscope.curvature(quadratic, params, jnp.asarray(CURVATURES, jnp.bfloat16))
    found = of(report)
    assert found.dtype == "float32"
    assert found.largest is not None
    assert found.largest.value == pytest.approx(8, rel=1e-5)
    assert any("Numbers in bfloat16 were widened to float32" in note for note in report.notes)


def test_float64_is_computed_in_float64() -> None:
    with jax.enable_x64(True):
        found = shape(quadratic, {"x": np.ones(4)}, CURVATURES.astype(np.float64))
    assert found.dtype == "float64"
    assert found.largest is not None
    assert found.largest.value == pytest.approx(8, rel=1e-12)


def test_what_the_optimizer_holds_is_left_out() -> None:
    labels = {"first": "frozen", "out": "trained"}
    optimizer = optax.multi_transform({"frozen": optax.set_to_zero(), "trained": optax.sgd(0.1)}, labels)
    found = shape(mlp, FLOATS, (X, Y), optimizer=optimizer)
    assert (found.parameters, found.left_out) == (5, 25)
    assert found.own is not None
    assert found.own.stable == pytest.approx(20, rel=1e-3)


def test_adam_has_no_such_limit() -> None:
    found = shape(mlp, FLOATS, (X, Y), optimizer=optax.adam(1e-3), layers=False)
    assert found.own is not None
    assert found.own.transform == "fixed"
    assert found.own.stable is None
    assert found.excess is None
    assert found.critical is not None
    assert not found.layers


@jax.custom_vjp
def halved(x: Any) -> Any:
    return x * x


halved.defvjp(lambda x: (x * x, x), lambda x, ct: (ct * x[::-1],))


def test_a_gradient_that_is_of_no_function_has_no_eigenvalues() -> None:
    report = gradscope.curvature(
        lambda p, b: jnp.sum(b * halved(p["x"])), {"x": np.arange(4, dtype=np.float32)}, CURVATURES
    )
    assert of(report).largest is None
    assert "not symmetric" in str(report.skipped)
    assert "second derivatives not measured" in report.unexamined


@jax.custom_vjp
def outer(x: Any) -> Any:
    return jnp.sum(x**3)


@jax.custom_vjp
def inner(x: Any) -> Any:
    return x**2


inner.defvjp(lambda x: (x**2, x), lambda x, ct: (2 * x * ct,))
outer.defvjp(lambda x: (jnp.sum(x**3), x), lambda x, ct: (3 * ct * inner(x),))


def test_a_rule_without_forward_mode_inside_the_backward_pass_is_differentiated_in_reverse() -> None:
    found = shape(lambda p, b: outer(b * p["x"]), {"x": np.ones(4, np.float32)}, CURVATURES)
    assert found.largest is not None
    assert found.largest.value == pytest.approx(6 * 8**3, rel=1e-4)


def answered(x: Any) -> Any:
    return jax.pure_callback(lambda x: 2 * np.asarray(x), jax.ShapeDtypeStruct(x.shape, x.dtype), x)


@jax.custom_vjp
def asks(x: Any) -> Any:
    return x**2


asks.defvjp(lambda x: (x**2, x), lambda x, ct: (answered(x) * ct,))


def test_where_the_gradient_cannot_be_differentiated_the_first_update_is_tried_all_the_same() -> None:
    report = gradscope.curvature(
        lambda p, b: jnp.sum(b * asks(p["x"])),
        {"x": np.ones(4, np.float32)},
        np.abs(CURVATURES),
        optimizer=optax.sgd(0.01),
    )
    found = of(report)
    assert found.largest is None
    assert found.critical is not None
    assert found.critical.change < 0
    (gap,) = [each for each in report.skipped if each.what == "second derivatives"]
    assert "the gradient cannot be differentiated" in gap.reason


def test_a_loss_without_a_gradient_is_an_error_of_the_input() -> None:
    def loss(params: Any, batch: Any) -> Any:
        found = jax.lax.while_loop(lambda v: jnp.sum(v) < 9, lambda v: v * 1.5, params["x"] ** 2)
        return jnp.sum(found * batch)

    with pytest.raises(GradscopeError):
        gradscope.curvature(loss, {"x": np.ones(4, np.float32)}, CURVATURES)


def test_a_gradient_that_is_not_finite_is_told_and_nothing_is_measured() -> None:
    report = gradscope.curvature(
        lambda p, b: jnp.sum(b * jnp.sqrt(p["x"])), {"x": np.zeros(4, np.float32)}, CURVATURES
    )
    assert of(report).largest is None
    assert "not finite" in str(report.skipped)


def test_second_derivatives_that_are_not_finite_name_their_layer() -> None:
    params = {"a": {"w": np.ones(3, np.float32)}, "b": {"w": np.zeros(3, np.float32)}}
    report = gradscope.curvature(
        lambda p, b: jnp.sum(p["a"]["w"] ** 2 * b) + jnp.sum(p["b"]["w"] ** 1.5 * b), params, X[0, :3]
    )
    assert of(report).largest is None
    assert "not finite, in b" in str(report.skipped)


def test_layers_that_are_stacked_have_a_sharpness_each() -> None:
    stacked = {"w": np.stack([np.eye(4, dtype=np.float32) * by for by in (1.0, 0.5)])}

    def loss(params: Any, batch: Any) -> Any:
        out = jax.lax.scan(lambda h, w: (h @ w, None), batch, params["w"])[0]
        return 0.5 * jnp.sum(out**2)

    found = shape(loss, stacked, X)
    _, matrix = dense(loss, stacked, X)
    assert len(found.layers) == 2
    for place, layer in enumerate(found.layers):
        block = slice(16 * place, 16 * place + 16)
        truth = np.linalg.eigvalsh(matrix[block, block])[-1]
        assert layer.largest is not None
        assert layer.largest.value == pytest.approx(truth, rel=0.02)


def test_a_model_of_a_framework_is_looked_at_as_it_is() -> None:
    model = nnx.Linear(4, 1, rngs=nnx.Rngs(0))
    found = shape(lambda model, batch: jnp.mean((model(batch[0]) - batch[1]) ** 2), model, (X, Y))
    matrix = np.concatenate([X, np.ones((32, 1))], 1)
    truth = np.linalg.eigvalsh(2 * matrix.T @ matrix / 32)
    assert found.largest is not None
    assert found.largest.value == pytest.approx(truth[-1], rel=1e-3)
    assert found.negative is None


def test_nothing_is_known_of_layers_without_time() -> None:
    report = gradscope.curvature(mlp, FLOATS, (X, Y), budget_s=1e-9)
    found = of(report)
    assert found.largest is not None
    assert not found.layers
    assert "the sharpness of 2 of 2 layers" in str(report.skipped)
    assert found.trace_error is not None
    assert math.isfinite(found.trace_error)
