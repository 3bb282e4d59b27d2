"""Models of frameworks train as the framework trains them: dropout, BatchNorm, masks by its own tree."""

from __future__ import annotations

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradscope.load.problem import Problem
from gradscope.optimizers.compare import compare
from gradscope.records import Comparison
from gradscope.records.options import CompareOptions

RNG = np.random.default_rng(0)
X = RNG.normal(size=(16, 4)).astype(np.float32)
Y = np.sin(X.sum(1, keepdims=True))


def compared(problem: Problem, *names: str, **terms: Any) -> Comparison:
    options = CompareOptions(**{"optimizers": names, "steps": 12, "seeds": 1, "grid": 1, **terms})
    return compare(problem.reseeded, options, 0, lambda stage: None)


def losses(found: Comparison, name: str) -> tuple[float, ...]:
    return next(row for row in found.contestants if row.name == name).trials[0].losses


STILL = {"still": lambda rate: optax.sgd(0.0 * rate)}


def nnx_model(seed: int, dropout: float) -> Any:
    from flax import nnx

    rngs = nnx.Rngs(seed)
    return nnx.Sequential(
        nnx.Linear(4, 8, rngs=rngs),
        nnx.BatchNorm(8, rngs=rngs),
        jax.nn.relu,
        nnx.Dropout(dropout, rngs=rngs),
        nnx.Linear(8, 1, rngs=rngs),
    )


def squared_error(model: Any, batch: Any) -> Any:
    return jnp.mean((model(batch[0]) - batch[1]) ** 2)


def test_an_nnx_model_with_batch_norm_trains_as_its_own_loop_does() -> None:
    from flax import nnx

    problem = Problem(squared_error, nnx_model(0, 0.0), (X, Y), optimizer=optax.adam(0.01))
    found = losses(compared(problem, "adam"), "yours")
    model = nnx_model(0, 0.0)
    optimizer = nnx.Optimizer(model, optax.adam(0.01), wrt=nnx.Param)
    own = []
    for _ in range(12):
        loss, gradients = nnx.value_and_grad(squared_error)(model, (X, Y))
        optimizer.update(model, gradients)
        own.append(float(loss))
    assert found == pytest.approx(own, rel=1e-4)


def test_dropout_inside_an_nnx_model_draws_anew_at_each_step() -> None:
    problem = Problem(squared_error, nnx_model(0, 0.5), (X, Y), candidates=STILL)
    found = compared(problem, "still", seeds=2)
    assert len(set(losses(found, "still"))) == 12
    assert len(found.seeds) == 2, "the seeds differ by what is dropped"


def test_what_is_measured_at_one_step_leaves_the_streams_as_they_are() -> None:
    problem = Problem(squared_error, nnx_model(0, 0.5), (X, Y))
    one, other = (float(problem.loss(problem.params, (X, Y), problem.key(draw))[0]) for draw in (0, 1))
    assert one == other
    assert not problem.takes_key
    assert problem.for_training().takes_key


def test_layers_with_streams_of_several_keys_are_drawn_anew_too() -> None:
    from flax import nnx

    @nnx.split_rngs(splits=3)
    @nnx.vmap(in_axes=0, out_axes=0)
    def layers(rngs: Any) -> Any:
        return nnx.Sequential(nnx.Linear(4, 4, rngs=rngs), nnx.Dropout(0.5, rngs=rngs))

    def loss(model: Any, batch: Any) -> Any:
        @nnx.scan(in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
        def run(x: Any, layer: Any) -> Any:
            return layer(x)

        return jnp.mean(run(batch, model) ** 2)

    problem = Problem(loss, layers(nnx.Rngs(0)), X, candidates=STILL)
    assert len(set(losses(compared(problem, "still"), "still"))) == 12


def test_dropout_inside_a_keras_model_draws_anew_at_each_step() -> None:
    os.environ.setdefault("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "jax":
        pytest.skip("Keras was imported with another backend")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8), keras.layers.Dropout(0.5)])

    def loss(model: Any, batch: Any) -> Any:
        return jnp.mean(model(batch, training=True) ** 2)

    problem = Problem(loss, model, X, candidates=STILL)
    assert len(set(losses(compared(problem, "still"), "still"))) == 12


def test_masks_and_labels_fit_the_structure_of_an_nnx_model() -> None:
    from flax import nnx

    model = nnx_model(0, 0.0)

    def labels(params: Any) -> Any:
        return jax.tree_util.tree_map_with_path(
            lambda path, _: "train" if "kernel" in jax.tree_util.keystr(path) else "freeze", params
        )

    transform = optax.multi_transform({"train": optax.adam(0.05), "freeze": optax.set_to_zero()}, labels)
    found = losses(compared(Problem(squared_error, model, (X, Y), optimizer=transform), "sgd"), "yours")
    optimizer = nnx.Optimizer(model, transform, wrt=nnx.Param)
    own = []
    for _ in range(12):
        loss, gradients = nnx.value_and_grad(squared_error)(model, (X, Y))
        optimizer.update(model, gradients)
        own.append(float(loss))
    assert found == pytest.approx(own, rel=1e-4)


def test_masks_fit_the_structure_of_an_equinox_module_and_its_dropout_takes_the_key() -> None:
    import equinox as eqx

    first, second = jax.random.split(jax.random.PRNGKey(0))
    model = eqx.nn.Sequential(
        [eqx.nn.Linear(4, 8, key=first), eqx.nn.Dropout(0.5), eqx.nn.Linear(8, 1, key=second)]
    )

    def loss(model: Any, batch: Any, key: Any) -> Any:
        keys = jax.random.split(key, len(batch[0]))
        return jnp.mean((jax.vmap(lambda x, k: model(x, key=k))(batch[0], keys) - batch[1]) ** 2)

    bias = eqx.tree_at(
        lambda m: (m.layers[0].bias, m.layers[2].bias),
        jax.tree.map(lambda _: False, eqx.filter(model, eqx.is_inexact_array)),
        (True, True),
    )
    problem = Problem(
        loss, model, (X, Y), optimizer=optax.masked(optax.set_to_zero(), bias), candidates=STILL
    )
    found = compared(problem, "still", "adam")
    assert len(set(losses(found, "still"))) == 12
    assert len(losses(found, "yours")) == 12


def test_a_linen_model_with_batch_statistics_trains() -> None:
    from flax import linen

    class Net(linen.Module):
        @linen.compact
        def __call__(self, x: Any) -> Any:
            x = linen.relu(linen.BatchNorm(use_running_average=False)(linen.Dense(8)(x)))
            return linen.Dense(1)(x)

    net = Net()
    variables = net.init(jax.random.PRNGKey(0), X)

    def loss(params: Any, batch: Any) -> Any:
        made, state = net.apply(
            {"params": params, "batch_stats": variables["batch_stats"]}, batch[0], mutable=["batch_stats"]
        )
        return jnp.mean((made - batch[1]) ** 2), state

    found = losses(compared(Problem(loss, variables["params"], (X, Y)), "adam", steps=40), "adam")
    assert found[-1] < 0.9 * found[0]
