"""Haiku: statistics and dropout, a loss that is itself transformed, loops over time and over layers."""

from dataclasses import replace

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax

from tests.load.models.case import Case, Made

X = np.linspace(-1, 1, 64, dtype=np.float32).reshape(16, 4)
Y = np.arange(16) % 3


def network(x, is_training):
    x = hk.nets.MLP([4, 4], activate_final=True)(x)
    x = hk.BatchNorm(create_scale=True, create_offset=True, decay_rate=0.9)(x, is_training)
    x = hk.dropout(hk.next_rng_key(), 0.5, x)
    return hk.Linear(3)(x)


def recurrent(x):
    core = hk.GRU(4)
    outputs, _ = hk.dynamic_unroll(core, x.reshape(2, 16, 2), core.initial_state(16))
    x = hk.experimental.layer_stack(3)(lambda x: jnp.tanh(hk.Linear(4, name="inner")(x)))(outputs[-1])
    return hk.Linear(3, name="out")(x)


def cross_entropy(logits, labels):
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def made(model, params, loss_fn, run, kinds):
    """`run` is the loss written out, as a function of params alone."""
    loss, found = jax.value_and_grad(run)(params)

    def at(tree, name):
        module, _, leaf = name.rpartition(".")
        return tree[module][leaf]

    return Made(
        model,
        loss_fn,
        (X, Y),
        loss=float(loss),
        weight=lambda name: at(params, name),
        gradient=lambda name: at(found, name),
        kinds=kinds,
        parameters=tuple(f"{module}.{leaf}" for module, leaves in params.items() for leaf in leaves),
    )


def with_state():
    model = hk.transform_with_state(network)
    params, state = model.init(jax.random.PRNGKey(0), X, True)

    def loss_fn(params, state, batch):
        x, y = batch
        logits, state = model.apply(params, state, jax.random.PRNGKey(1), x, is_training=True)
        return cross_entropy(logits, y), state

    kinds = {
        "mlp/~/linear_0": "Linear", "mlp/~/linear_1": "Linear", "batch_norm": "BatchNorm", "linear": "Linear"
    }  # fmt: skip
    return made(model, params, loss_fn, lambda params: loss_fn(params, state, (X, Y))[0], kinds)


def loops(wrapped=jax.jit):
    model = hk.without_apply_rng(hk.transform(recurrent))
    params = model.init(jax.random.PRNGKey(0), X)

    def loss_fn(params, batch):
        return cross_entropy(model.apply(params, batch[0]), batch[1])

    stacked = {f"__layer_stack_no_per_layer[{i}]/inner": "Linear" for i in range(3)}
    kinds = {"gru.w_i": "GRU", "gru.w_h": "GRU", "gru.b": "GRU", **stacked, "out": "Linear"}
    return made(model, params, wrapped(loss_fn), lambda params: loss_fn(params, (X, Y)), kinds)


def plain_params():
    # A jitted loss that was traced before does not run its modules again: their classes stay unknown.
    params = hk.transform(recurrent).init(jax.random.PRNGKey(0), X)
    return replace(loops(wrapped=lambda loss: loss), model=params)


def transformed_loss():
    def loss(batch):
        x, y = batch
        return cross_entropy(hk.nets.MLP([4, 3])(x), y)

    loss_fn = hk.transform(loss)
    params = loss_fn.init(jax.random.PRNGKey(0), (X, Y))
    kinds = {"mlp/~/linear_0": "Linear", "mlp/~/linear_1": "Linear"}
    return made(loss_fn, params, loss_fn, lambda params: loss_fn.apply(params, None, (X, Y)), kinds)


CASES = [
    Case("statistics and dropout, made from the batch", "haiku", with_state),
    Case("dynamic_unroll and layer_stack", "haiku", loops),
    Case("params that the user made", "haiku", plain_params),
    Case("a loss that is a transform", "haiku", transformed_loss),
]
