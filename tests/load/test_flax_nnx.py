"""Flax NNX beyond the contract: state, random streams, modes, optimizers, stacked layers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import gradscope
from gradscope.errors import GradscopeError
from gradscope.load.problem import Problem
from tests.load.models.flax_nnx import Net, X, Y, loss_fn

BATCH = (X, Y)


def named(tree, *path):
    for step in path:
        tree = tree[step]
    return tree


def test_statistics_written_in_the_loss_are_what_the_framework_writes_and_stay_in_the_trace():
    model, twin = Net(nnx.Rngs(0)), Net(nnx.Rngs(0))
    loss_fn(twin, BATCH)
    problem = Problem(loss_fn, model, BATCH)
    _, state = jax.jit(problem.loss)(problem.params, BATCH, problem.key())
    expected = jax.tree.leaves(nnx.state(twin, nnx.Not(nnx.Param)))
    for found, truth in zip(state, expected, strict=True):
        if jnp.issubdtype(truth.dtype, jnp.floating):
            np.testing.assert_allclose(found, truth, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(model.blocks[0].norm.mean[...], np.zeros(4))
    assert int(model.blocks[0].dropout.rngs.count[...]) == 0


def test_a_model_in_eval_mode_stays_in_it():
    model = Net(nnx.Rngs(0))
    model.eval()
    problem = Problem(loss_fn, model, BATCH)
    loss, _ = problem.loss(problem.params, BATCH, problem.key())
    assert float(loss) == pytest.approx(float(loss_fn(model, BATCH)), rel=1e-6)
    model.train()
    assert float(loss) != pytest.approx(float(loss_fn(model, BATCH)), rel=1e-3)


def test_a_model_that_is_in_no_mode_is_told_to_choose_one():
    attention = nnx.MultiHeadAttention(2, 4, 4, dropout_rate=0.1, decode=False, rngs=nnx.Rngs(0))

    def loss(model, x):
        return jnp.mean(model(x) ** 2)

    with pytest.raises(GradscopeError) as caught:
        gradscope.check(loss, attention, X[None])
    assert "model.train()" in caught.value.fix


def test_only_parameters_are_trained_and_other_variables_pass_through():
    class Counted(nnx.Module):
        def __init__(self, rngs):
            self.linear = nnx.Linear(4, 1, rngs=rngs)
            self.scale = nnx.Variable(jnp.full((), 2.0))
            self.cache = nnx.Cache(jnp.zeros(4))

        def __call__(self, x):
            self.cache[...] = x.mean(0)
            return self.scale * self.linear(x)

    problem = Problem(loss_fn, Counted(nnx.Rngs(0)), BATCH)
    assert list(problem.params) == ["linear"]
    jax.grad(lambda p: problem.loss(p, BATCH, problem.key())[0])(problem.params)


def test_a_parameter_that_only_updates_state_is_known_as_such():
    class Target(nnx.Module):
        def __init__(self, rngs):
            self.online = nnx.Linear(4, 1, rngs=rngs)
            self.shadow = nnx.Param(jnp.ones((4, 1)))
            self.average = nnx.Variable(jnp.zeros((4, 1)))

        def __call__(self, x):
            self.average[...] = 0.9 * self.shadow[...]
            return self.online(x)

    found = gradscope.check(loss_fn, Target(nnx.Rngs(0)), BATCH).flow.parameters
    assert {p.name: p.connection.value for p in found}["shadow"] == "state"


def test_several_models_may_be_given_as_one():
    def loss(models, batch):
        actor, critic = models
        return jnp.mean((actor(batch[0]) - batch[1]) ** 2) + jnp.mean(critic(batch[0]) ** 2)

    pair = (nnx.Linear(4, 1, rngs=nnx.Rngs(0)), nnx.Linear(4, 1, rngs=nnx.Rngs(1)))
    names = {layer.name for layer in gradscope.check(loss, pair, BATCH).flow.layers}
    assert names == {"[0]", "[1]"}


def test_a_state_that_the_loss_merges_itself_has_plain_names():
    graph, params, rest = nnx.split(Net(nnx.Rngs(0)), nnx.Param, ...)

    def loss(params, graph, rest, batch):
        return loss_fn(nnx.merge(graph, params, rest, copy=True), batch)

    problem = Problem(loss, params, BATCH, given={"graph": graph, "rest": rest})
    assert set(problem.params) == {"blocks", "gain", "head"}
    assert gradscope.check(problem).flow.layers[0].name == "blocks[0].linear"


@pytest.mark.few(2)
@pytest.mark.parametrize(
    "wrap", [nnx.jit, nnx.value_and_grad, nnx.grad, lambda f: nnx.jit(nnx.value_and_grad(f)), nnx.remat]
)
def test_a_wrapped_loss_is_the_loss(wrap):
    plain = gradscope.check(loss_fn, Net(nnx.Rngs(0)), BATCH).flow
    wrapped = gradscope.check(wrap(loss_fn), Net(nnx.Rngs(0)), BATCH).flow
    assert wrapped.loss == pytest.approx(plain.loss, rel=1e-5)
    assert {p.name for p in wrapped.parameters} == {p.name for p in plain.parameters}


def test_the_transform_of_an_optimizer_is_taken_with_its_masks():
    model = nnx.Sequential(nnx.Linear(4, 8, rngs=nnx.Rngs(0)), nnx.tanh, nnx.Linear(8, 1, rngs=nnx.Rngs(1)))
    labels = jax.tree.map(lambda leaf: "matrix" if leaf.ndim > 1 else "vector", nnx.state(model, nnx.Param))
    tx = optax.multi_transform({"matrix": optax.sgd(0.5), "vector": optax.sgd(0.25)}, labels)
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    found = gradscope.check(loss_fn, model, BATCH, optimizer=optimizer).flow.parameters
    rates = {p.name.rpartition(".")[2]: p.update_rms / p.gradient_rms for p in found}
    assert rates == pytest.approx({"kernel": 0.5, "bias": 0.25}, rel=1e-5)


def test_what_an_optimizer_leaves_out_is_said():
    class Two(nnx.Module):
        def __init__(self, rngs):
            self.body = nnx.Linear(4, 4, rngs=rngs)
            self.head = nnx.Linear(4, 1, rngs=rngs)

        def __call__(self, x):
            return self.head(nnx.tanh(self.body(x)))

    model = Two(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.sgd(0.1), wrt=nnx.All(nnx.Param, nnx.PathContains("head")))
    problem = Problem(loss_fn, model, BATCH, optimizer=optimizer)
    assert list(problem.params) == ["head"]
    assert "trains 2 of 4" in problem.notes[0]


def test_layers_stacked_by_vmap_and_run_by_scan_have_the_gradients_of_a_loop():
    class Deep(nnx.Module):
        def __init__(self, rngs):
            @nnx.split_rngs(splits=3)
            @nnx.vmap(in_axes=(0,), out_axes=0)
            def make(rngs):
                return nnx.Linear(4, 4, rngs=rngs)

            self.blocks = make(rngs)
            self.head = nnx.Linear(4, 1, rngs=rngs)

        def __call__(self, x):
            @nnx.scan(in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
            def run(x, block):
                return nnx.tanh(block(x))

            return self.head(run(x, self.blocks))

    model = Deep(nnx.Rngs(0))
    problem = Problem(loss_fn, model, BATCH)
    found = jax.grad(lambda p: problem.loss(p, BATCH, problem.key())[0])(problem.params)
    truth = nnx.grad(loss_fn)(model, BATCH)
    for path in (("blocks", "kernel"), ("blocks", "bias"), ("head", "kernel")):
        np.testing.assert_allclose(named(found, *path), named(truth, *path).get_value(), rtol=1e-5, atol=1e-7)
    assert {layer.kind for layer in gradscope.check(problem).flow.layers} == {"Linear"}
