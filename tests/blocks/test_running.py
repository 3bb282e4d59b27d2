"""A program run block by block gives what it gives whole: the loss bit for bit, gradients and statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from jax import Array, lax

from gradscope.blocks import recomputing
from gradscope.blocks.block import blocks_of, blocks_where_it_pays
from gradscope.blocks.repeats import Sizes
from gradscope.blocks.running import Blockwise
from gradscope.load.problem import Problem
from gradscope.trace.compiling import compile_program
from gradscope.trace.program import Program, Tracer
from gradscope.trace.sites import Plan
from tests.trace.programs import Sample, samples

SMALL = Sizes(shortest=3, longest=6, least_saved=2)
"""Many cuts, also in programs of a few equations."""


def normal(seed: int, *shape: int) -> Array:
    return jax.random.normal(jax.random.key(seed), shape) * 0.4


X = normal(0, 5, 6)


def whole(program: Program, inputs: Any) -> Any:
    """The slow way: one compiled program."""

    def step(weights: Any, sinks: Any, gains: Any, others: Any, consts: Any) -> Any:
        run = jax.value_and_grad(program.tapped, argnums=(0, 1), has_aux=True)
        return run(weights, sinks, gains, others, consts)

    arguments = inputs.weights, program.sinks(), program.gains(), inputs.others, list(program.body.consts)
    (loss, statistics), (gradients, delta) = compile_program(step, arguments, runs=1)(*arguments)
    return loss, statistics, delta, gradients


def blockwise(loss_fn: Any, params: Any, batch: Any) -> tuple[Blockwise, Any, Any]:
    """The program in blocks, what it gives, and what the whole gives."""
    tracer = Tracer(Problem(loss_fn, params, batch))
    program, inputs = tracer.trace(batch), tracer.inputs(batch)
    with mock.patch.object(recomputing, "LEAST", 0):
        blocks = Blockwise(program, blocks_of(program.body, program.plan, SMALL))
    consts = list(program.body.consts)
    found = blocks(inputs.weights, program.gains(), inputs.others, consts, lambda leaf, value: value)
    return blocks, found, whole(program, inputs)


def alike(found: Any, expected: Any) -> None:
    assert np.asarray(found[0]).tobytes() == np.asarray(expected[0]).tobytes()
    assert found[1].keys() == expected[1].keys()
    assert found[2].keys() == expected[2].keys()
    for ours, theirs in zip(jax.tree.leaves(found[1:]), jax.tree.leaves(expected[1:]), strict=True):
        scale = np.max(np.abs(np.nan_to_num(np.asarray(theirs, np.float64), posinf=0, neginf=0)), initial=0)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=3e-6 * scale)


def layers(count: int, activation: Callable[[Array], Array]) -> tuple[Any, Any]:
    params = [{"w": normal(i, 6, 6), "b": normal(50 + i, 6)} for i in range(count)]

    def loss_fn(params: Any, x: Array) -> Array:
        for layer in params:
            x = activation(x @ layer["w"] + layer["b"]) + x
        return jnp.mean(x**2)

    return loss_fn, params


def new_rule() -> Callable[[Array], Array]:
    @jax.custom_vjp
    def squash(x: Array) -> Array:
        return jnp.tanh(x)

    squash.defvjp(lambda x: (jnp.tanh(x), jnp.tanh(x)), lambda y, ct: (ct * (1 - y * y),))
    return squash


@pytest.mark.parametrize(
    "activation",
    [
        jnp.tanh,
        jax.nn.relu,
        jax.nn.gelu,
        lambda x: new_rule()(x),
        jax.checkpoint(lambda x: jnp.sin(x) * 2),
        lambda x: lax.scan(lambda c, _: (jnp.tanh(c), None), x, None, 3)[0],
        lambda x: lax.cond(x.sum() > 0, jnp.sin, jnp.cos, x),
        lambda x: x * lax.stop_gradient(jax.nn.sigmoid(x)),
        lambda x: (x.astype(jnp.bfloat16) * 2).astype(jnp.float32),
    ],
    ids=["tanh", "relu", "gelu", "custom_vjp", "checkpoint", "scan", "cond", "stop_gradient", "bfloat16"],
)
def test_equal_layers_are_compiled_once(activation: Callable[[Array], Array]) -> None:
    loss_fn, params = layers(8, activation)
    blocks, found, expected = blockwise(loss_fn, params, X)
    alike(found, expected)
    assert len(blocks.blocks) >= 8
    assert len(blocks.distinct) <= len(blocks.blocks) - 5


def test_backward_makes_again_what_is_cheap_to_make(monkeypatch: pytest.MonkeyPatch) -> None:
    loss_fn, params = layers(8, jax.nn.gelu)
    fewer, found, expected = blockwise(loss_fn, params, X)
    monkeypatch.setattr(recomputing, "MOST", 0)
    more, kept, _ = blockwise(loss_fn, params, X)
    alike(found, expected)
    alike(found, kept)
    assert len(fewer.distinct) == len(more.distinct)
    assert sum(made.kept for made in fewer.steps) < 0.7 * sum(stored.kept for stored in more.steps)


def test_a_weight_of_two_blocks_gets_the_sum_of_both_gradients() -> None:
    params = {"shared": normal(1, 6, 6), "own": [normal(2, 6, 6), normal(3, 6, 6)]}

    def loss_fn(p: Any, x: Array) -> Array:
        for w in p["own"]:
            x = jnp.tanh(x @ p["shared"] @ w)
        return jnp.sum((x @ p["shared"].T) ** 2)

    alike(*blockwise(loss_fn, params, X)[1:])


def test_an_infinite_derivative_behind_a_stopped_gradient_stays_out() -> None:
    def loss_fn(p: Any, x: Array) -> Array:
        h = x @ p["a"]
        root = jnp.sqrt(h * 0)
        for _ in range(6):
            h = jnp.tanh(h @ p["b"]) + lax.stop_gradient(root)
        return jnp.sum(h)

    found, expected = blockwise(loss_fn, {"a": normal(1, 6, 6), "b": normal(2, 6, 6)}, X)[1:]
    assert all(np.isfinite(gradient).all() for gradient in found[3])
    alike(found, expected)


def test_a_loop_without_a_derivative_behind_a_stopped_gradient_runs() -> None:
    def loss_fn(p: Any, x: Array) -> Array:
        start = lax.stop_gradient(jnp.sum(x @ p["a"]))
        scale = lax.while_loop(lambda v: jnp.abs(v) > 1, lambda v: v / 2, start)
        h = x
        for _ in range(6):
            h = jnp.tanh(h @ p["a"]) * scale
        return jnp.sum(h)

    alike(*blockwise(loss_fn, {"a": normal(1, 6, 6)}, X)[1:])


def test_integers_keys_and_a_dropout_mask_cross_blocks() -> None:
    params = {"table": normal(1, 9, 6), "w": [normal(i, 6, 6) for i in range(4)]}
    batch = {"ids": np.arange(10).reshape(2, 5) % 9}

    def loss_fn(p: Any, batch: Any, key: Any) -> Array:
        h = p["table"][batch["ids"]]
        for w in p["w"]:
            key, drop = jax.random.split(key)
            h = jnp.where(jax.random.bernoulli(drop, 0.5, h.shape), jnp.tanh(h @ w), 0)
        return jnp.mean(jax.nn.log_softmax(h @ p["table"].T)[..., 0])

    alike(*blockwise(loss_fn, params, batch)[1:])


def test_a_weight_without_a_path_to_the_loss_has_a_gradient_of_zero() -> None:
    loss_fn, params = layers(4, jnp.tanh)
    found = blockwise(lambda p, x: loss_fn(p["used"], x), {"idle": normal(9, 2), "used": params}, X)[1]
    assert not np.any(found[3][0])


def test_layers_that_differ_in_their_rule_alone_are_not_shared() -> None:
    def scaled(slope: float) -> Callable[[Array], Array]:
        @jax.custom_vjp
        def same(x: Array) -> Array:
            return jnp.tanh(x)

        same.defvjp(lambda x: (jnp.tanh(x), None), lambda _, ct: (slope * ct,))
        return same

    def loss_fn(params: Any, x: Array) -> Array:
        for number, w in enumerate(params):
            x = scaled(1.0 if number < 4 else 0.5)(x @ w)
        return jnp.sum(x)

    alike(*blockwise(loss_fn, [normal(i, 6, 6) for i in range(8)], X)[1:])


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
@given(samples())
def test_a_random_program_gives_the_same_in_blocks(sample: Sample) -> None:
    alike(*blockwise(sample.loss_fn, sample.params, sample.batch)[1:])


def test_layers_that_differ_in_one_equation_share_the_rest() -> None:
    """Each takes a row of its own of the keys for dropout, and scales its branch by a number of its own."""

    def loss_fn(params: Any, x: Array, key: Any) -> Array:
        keys = jax.random.split(key, len(params))
        for number, layer in enumerate(params):
            kept = jax.random.bernoulli(keys[number], 0.9, x.shape)
            branch = jnp.where(kept, jnp.tanh(x @ layer["w"] + layer["b"]), 0.0)
            for _ in range(8):
                branch = jnp.sin(branch) * jnp.cos(branch)
            x = x + (1 - 0.01 * number) * branch
        return jnp.mean(x**2)

    params = [{"w": normal(i, 6, 6), "b": normal(50 + i, 6)} for i in range(8)]
    tracer = Tracer(Problem(loss_fn, params, X))
    program, inputs = tracer.trace(X), tracer.inputs(X)
    blocks = Blockwise(program)
    size = sum(len(block.body.eqns) for block in blocks.blocks)
    compiled = {id(step): len(step.block.body.eqns) for step in blocks.steps}
    assert sum(compiled.values()) < size / 3
    consts = list(program.body.consts)
    found = blocks(inputs.weights, program.gains(), inputs.others, consts, lambda leaf, value: value)
    alike(found, whole(program, inputs))


def test_a_branch_with_taps_beside_one_without_runs() -> None:
    def loss_fn(params: Any, x: Array) -> Array:
        for w in params:
            x = lax.cond(jnp.sum(x) > 0, lambda x, w: jnp.tanh(x @ w), lambda x, _: x, x, w)
            x = jnp.sin(x) * jnp.cos(x) + x
        return jnp.sum(x**2)

    alike(*blockwise(loss_fn, [normal(i, 6, 6) for i in range(4)], X)[1:])


@pytest.mark.parametrize(
    "placed",
    [
        lambda x: jax.pure_callback(np.tanh, jax.ShapeDtypeStruct(x.shape, x.dtype), lax.stop_gradient(x)),
        lambda x: lax.scan(
            lambda c, _: (c * jax.pure_callback(np.cos, c, lax.stop_gradient(c)), None), x, None, 2
        )[0],
        lambda x: jax.shard_map(
            jnp.sin,
            mesh=jax.sharding.Mesh(np.array(jax.devices()[:1]), ("rows",)),
            in_specs=jax.sharding.PartitionSpec("rows"),
            out_specs=jax.sharding.PartitionSpec("rows"),
        )(x),
    ],
    ids=["callback", "callback in a loop", "shard_map"],
)
def test_callbacks_and_meshes_stay_in_one_program(placed: Callable[[Array], Array]) -> None:
    loss_fn, params = layers(30, jnp.tanh)

    def with_it(params: Any, x: Array) -> Array:
        return loss_fn(params, x + placed(x))

    program = Tracer(Problem(with_it, params, X)).trace(X)
    assert not blocks_where_it_pays(program.body, program.plan, params)
    assert blocks_where_it_pays(Tracer(Problem(loss_fn, params, X)).trace(X).body, Plan(), params)
