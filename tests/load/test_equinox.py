"""Equinox beyond the contract: state, frozen parts, wrapped losses, containers, stacked layers."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradscope
from gradscope.load.model.frameworks.base import OpeningContext
from gradscope.load.model.frameworks.table import opened
from gradscope.load.problem import Problem
from tests.load.models.equinox import Net, X, Y, loss_fn, loss_with_state

BATCH = (X, Y)


def mlp(seed=0):
    return eqx.nn.MLP(4, 1, 8, 2, key=jax.random.PRNGKey(seed))


def names(report):
    return [layer.name for layer in report.flow.layers]


def test_a_state_is_handed_over_fresh_each_time_and_the_new_one_is_auxiliary():
    model, state = eqx.nn.make_with_state(Net)(jax.random.PRNGKey(0))
    problem = Problem(loss_with_state, model, BATCH, given={"state": state})
    (_, first), (_, second) = (problem.loss(problem.params, BATCH, problem.key()) for _ in range(2))
    twin = jax.tree.map(lambda leaf: leaf, state)
    _, truth = loss_with_state(model, twin, BATCH, problem.key())
    for found, again, expected in zip(*map(jax.tree.leaves, (first, second, truth)), strict=True):
        np.testing.assert_array_equal(found, again)
        np.testing.assert_array_equal(found, expected)
    jax.tree.leaves(state)


def test_whole_numbers_functions_and_settings_pass_through():
    model, state = eqx.nn.make_with_state(Net)(jax.random.PRNGKey(0))
    problem = Problem(loss_with_state, (model, state), BATCH)
    leaves = jax.tree.leaves(problem.params)
    assert {leaf.dtype for leaf in leaves} == {np.dtype("float32")}
    assert "steps" not in problem.params
    assert "dropout" not in problem.params


@pytest.mark.parametrize(
    "wrap",
    [
        eqx.filter_jit,
        eqx.filter_value_and_grad,
        lambda f: eqx.filter_jit(eqx.filter_grad(f)),
        eqx.filter_checkpoint,
        jax.value_and_grad,
    ],
)
def test_a_wrapped_loss_is_the_loss(wrap):
    plain, wrapped = (gradscope.check(f, mlp(), BATCH).flow for f in (loss_fn, wrap(loss_fn)))
    assert wrapped.loss == pytest.approx(plain.loss, rel=1e-6)
    assert [p.name for p in wrapped.parameters] == [p.name for p in plain.parameters]
    for found, truth in zip(wrapped.parameters, plain.parameters, strict=True):
        assert found.gradient_norm == pytest.approx(truth.gradient_norm, rel=1e-4, abs=1e-7)


def test_gradients_with_aux_inside_the_loss_leave_the_value():
    def with_aux(model, batch):
        return loss_fn(model, batch), {"x": batch[0]}

    wrapped = eqx.filter_jit(eqx.filter_value_and_grad(has_aux=True)(with_aux))
    value = gradscope.check(wrapped, mlp(), BATCH).flow.loss
    assert value == pytest.approx(float(loss_fn(mlp(), BATCH)), rel=1e-6)


def test_what_a_filter_spec_freezes_is_passed_through_and_said():
    model = mlp()
    spec = jax.tree.map(lambda _: False, model)
    spec = eqx.tree_at(lambda m: (m.layers[-1].weight, m.layers[-1].bias), spec, replace=(True, True))
    problem = Problem(loss_fn, model, BATCH, given={"filter_spec": spec})
    report = gradscope.check(problem)
    assert names(report) == ["layers[2]"]
    assert "filter_spec freezes 4 of 6 arrays: they are passed through." in problem.notes
    diff, static = eqx.partition(model, spec)
    truth = jax.grad(lambda d: loss_fn(eqx.combine(d, static), BATCH))(diff).layers[2]
    assert report.flow.parameters[0].gradient_norm == pytest.approx(
        float(jnp.linalg.norm(truth.bias)), rel=1e-4
    )


def test_a_filter_spec_of_another_model_is_not_used():
    found = opened(mlp(), OpeningContext({"filter_spec": [True, False]}))
    assert "does not fit" in found.notes[0]
    assert len(jax.tree.leaves(found.params)) == 6


def test_models_in_a_dict_are_opened_together():
    def loss(models, batch):
        return loss_fn(models["first"], batch) + loss_fn(models["second"], batch)

    report = gradscope.check(loss, {"first": mlp(0), "second": mlp(1)}, BATCH)
    assert sorted(names(report)) == sorted(f"{m}.layers[{i}]" for m in ("first", "second") for i in range(3))


def test_layers_stacked_by_vmap_and_run_by_scan_have_the_gradients_of_a_loop():
    class Deep(eqx.Module):
        blocks: eqx.nn.Linear
        head: eqx.nn.Linear

        def __init__(self, key):
            first, second = jax.random.split(key)
            make = eqx.filter_vmap(lambda k: eqx.nn.Linear(4, 4, key=k))
            self.blocks = make(jax.random.split(first, 3))
            self.head = eqx.nn.Linear(4, 1, key=second)

        def __call__(self, x):
            arrays, static = eqx.partition(self.blocks, eqx.is_array)
            step = lambda x, block: (jnp.tanh(eqx.combine(block, static)(x)), None)  # noqa: E731
            return self.head(jax.lax.scan(step, x, arrays)[0])

    model = Deep(jax.random.PRNGKey(0))
    report = gradscope.check(loss_fn, model, BATCH)
    truth = eqx.filter_grad(loss_fn)(model, BATCH)
    found = {p.name: p.gradient_norm for p in report.flow.parameters}
    for name in ("blocks.weight", "blocks.bias", "head.weight"):
        array = eval(f"truth.{name}", {"truth": truth})
        assert found[name] == pytest.approx(float(jnp.linalg.norm(array)), rel=1e-4)
    assert {layer.kind for layer in report.flow.layers} == {"Linear"}


def test_labels_of_the_optimizer_fit_the_users_own_tree():
    model = mlp()
    arrays = eqx.filter(model, eqx.is_inexact_array)
    labels = jax.tree.map(lambda leaf: "matrix" if leaf.ndim > 1 else "vector", arrays)
    tx = optax.multi_transform({"matrix": optax.sgd(0.5), "vector": optax.sgd(0.25)}, lambda _: labels)
    found = gradscope.check(loss_fn, model, BATCH, optimizer=tx).flow.parameters
    rates = {p.name.rpartition(".")[2]: p.update_rms / p.gradient_rms for p in found}
    assert rates == pytest.approx({"weight": 0.5, "bias": 0.25}, rel=1e-5)


def test_bfloat16_and_complex_arrays_keep_their_kind():
    class Mixed(eqx.Module):
        half: jax.Array
        phase: jax.Array

        def __call__(self, x):
            return (x.astype(jnp.bfloat16) @ self.half).astype(jnp.float32) * jnp.abs(self.phase)

    model = Mixed(jnp.ones((4, 1), jnp.bfloat16), jnp.ones((), jnp.complex64))
    report = gradscope.check(loss_fn, model, BATCH)
    assert [p.dtype for p in report.flow.parameters] == ["bfloat16"]
    assert any("phase" in each.what for each in report.skipped)
