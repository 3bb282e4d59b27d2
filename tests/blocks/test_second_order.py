"""Products with the Hessian, block by block: those of JAX's own forward over reverse on the whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from jax import Array, lax

from gradscope.blocks.block import blocks_of
from gradscope.blocks.second_order import SecondOrder, SecondOrderPoint
from gradscope.load.problem import Problem
from gradscope.trace.program import Program, Tracer
from gradscope.trace.sites import Plan
from tests.blocks.test_running import SMALL, X, layers, new_rule, normal
from tests.trace.programs import Sample, samples


def at_point(loss_fn: Any, params: Any, batch: Any) -> tuple[SecondOrder, SecondOrderPoint, Program, Any]:
    tracer = Tracer(Problem(loss_fn, params, batch))
    program, inputs = tracer.trace(batch), tracer.inputs(batch)
    blocks = blocks_of(program.body, Plan(), SMALL)
    second = SecondOrder(program.body, blocks, range(len(program.leaves)), 1)
    return second, second.at([*inputs.weights, *inputs.others]), program, inputs


def directions(program: Program, seed: int = 7) -> list[Any]:
    return [
        jax.random.normal(jax.random.key(seed + i), leaf.shape).astype(leaf.dtype)
        for i, leaf in enumerate(program.leaves)
    ]


def alike(found: Any, expected: Any) -> None:
    scale = max(float(np.max(np.abs(np.asarray(each, np.float64)), initial=0)) for each in expected)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7 * scale)


def holds(loss_fn: Any, params: Any, batch: Any) -> SecondOrder:
    """In float64: two layers on, what float32 rounds is a thousandth of a second derivative."""
    with jax.enable_x64(True):
        wide = jax.tree.map(_wide, (params, batch))
        return _holds(loss_fn, *wide)


def _wide(leaf: Any) -> Any:
    dtype = jnp.asarray(leaf).dtype
    return jnp.asarray(leaf, jnp.float64) if jnp.issubdtype(dtype, jnp.floating) else leaf


def _holds(loss_fn: Any, params: Any, batch: Any) -> SecondOrder:
    second, point, program, inputs = at_point(loss_fn, params, batch)
    along = directions(program)
    consts = list(program.body.consts)

    @jax.jit
    def slow(weights: Any, along: Any) -> Any:
        gradient = lambda weights: jax.grad(program.loss)(weights, inputs.others, consts)  # noqa: E731
        return program.loss(weights, inputs.others, consts), *jax.jvp(gradient, (weights,), (along,))

    loss, gradient, product = slow(inputs.weights, along)
    np.testing.assert_allclose(point.loss, loss, rtol=1e-6)
    alike(point.gradient, gradient)
    alike(point.hessian(along), product)
    return second


@pytest.mark.few(3)
@pytest.mark.parametrize(
    "activation",
    [
        lambda x: new_rule()(x),
        jax.nn.relu,
        lambda x: lax.scan(lambda c, _: (jnp.tanh(c), None), x, None, 3)[0],
        jnp.tanh,
        jax.nn.gelu,
        jax.checkpoint(lambda x: jnp.sin(x) * 2),
        lambda x: lax.cond(x.sum() > 0, jnp.sin, jnp.cos, x),
        lambda x: x * lax.stop_gradient(jax.nn.sigmoid(x)),
    ],
    ids=["custom_vjp", "relu", "scan", "tanh", "gelu", "checkpoint", "cond", "stop_gradient"],
)
def test_equal_layers_are_linearized_once(activation: Callable[[Array], Array]) -> None:
    loss_fn, params = layers(8, activation)
    second = holds(loss_fn, params, X)
    assert len(second.parts) >= 8
    assert second.distinct <= 2 * (len(second.parts) - 5)


def test_shared_weights_integers_and_a_dropout_mask_cross_blocks() -> None:
    params = {"table": normal(1, 9, 6), "w": [normal(i, 6, 6) for i in range(4)], "idle": normal(2, 2)}
    batch = {"ids": np.arange(10).reshape(2, 5) % 9}

    def loss_fn(p: Any, batch: Any, key: Any) -> Array:
        h = p["table"][batch["ids"]]
        for w in p["w"]:
            key, drop = jax.random.split(key)
            h = jnp.where(jax.random.bernoulli(drop, 0.5, h.shape), jnp.tanh(h @ w), 0)
        return jnp.mean(jax.nn.log_softmax(h @ p["table"].T)[..., 0]) + 0.1 * jnp.sum(p["w"][0] ** 2)

    holds(loss_fn, params, batch)


@pytest.mark.slow
@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
@given(samples())
def test_a_random_program_has_the_same_products_in_blocks(sample: Sample) -> None:
    holds(sample.loss_fn, sample.params, sample.batch)
