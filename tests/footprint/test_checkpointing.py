"""Blocks that repeat are found; the loss with checkpoints on them has the same gradient and keeps less."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gradscope.footprint.account import compiled_memory, gradient_of, gradient_program
from gradscope.footprint.checkpointing import Plain, try_checkpoints
from gradscope.footprint.naming import BlockName, line_for, named
from gradscope.footprint.peak import peak_bytes
from gradscope.footprint.wrapped import repeats
from gradscope.load.problem import Problem
from gradscope.records import Checkpointing
from gradscope.trace import jaxprs
from gradscope.trace.program import Inputs, Program, Tracer

DEPTH, WIDTH = 6, 16
LAYERS = np.random.default_rng(0).normal(size=(DEPTH, WIDTH, WIDTH)).astype(np.float32) / 4
X = np.random.default_rng(1).normal(size=(256, WIDTH)).astype(np.float32)
Loss = Callable[[Any, Any], Any]


def block(w: Any, x: Any) -> Any:
    return x + jnp.tanh(jnp.exp(jnp.sin(x @ w))) @ w


def in_a_function(params: Any, x: Any) -> Any:
    for layer in range(DEPTH):
        x = block(params[layer]["w"], x)
    return jnp.mean(x**2), {"mean": x.mean()}


def in_a_loop(params: Any, x: Any) -> Any:
    for layer in range(DEPTH):
        x = x + jnp.tanh(jnp.exp(jnp.sin(x @ params[layer]["w"])))
    return jnp.mean(x**2)


def by_scan(params: Any, x: Any) -> Any:
    return jnp.mean(lax.scan(lambda x, w: (block(w, x), None), x, params["w"])[0] ** 2)


def nested(params: Any, x: Any) -> Any:
    return jax.jit(in_a_function)(params, x)[0]


def prepared(loss: Loss) -> tuple[Program, Inputs]:
    params: Any = {"w": LAYERS} if loss is by_scan else [{"w": w} for w in LAYERS]
    tracer = Tracer(Problem(loss, params, X))
    return tracer.trace(X), tracer.inputs(X)


def tried(loss: Loss, framework: str = "") -> Checkpointing:
    program, inputs = prepared(loss)
    memory, compiled = compiled_memory(program.body, inputs.weights, inputs.others)
    working = peak_bytes(gradient_program(program.body, inputs.weights, inputs.others))
    plain = Plain(program.body, inputs, compiled, working, memory.peak)
    found = try_checkpoints(plain, framework, lambda _: None)
    assert found is not None
    return found


@pytest.mark.parametrize("loss", [in_a_function, in_a_loop, by_scan, nested])
def test_a_block_is_found_once_for_each_layer(loss: Loss) -> None:
    program, _ = prepared(loss)
    assert DEPTH in {repeat.count for repeat in repeats(program.body)}


@pytest.mark.parametrize("loss", [in_a_function, by_scan, nested])
def test_the_gradient_is_the_same_and_less_is_kept(loss: Loss) -> None:
    program, inputs = prepared(loss)
    memory, compiled = compiled_memory(program.body, inputs.weights, inputs.others)
    plain = Plain(program.body, inputs, compiled, 0, memory.peak)
    repeat = max(repeats(program.body), key=lambda each: each.count)
    body = plain.transformed(repeat, "nothing_saveable")
    _, expected = compiled(inputs.weights, inputs.others)
    _, found = jax.jit(gradient_of(body))(inputs.weights, inputs.others)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    kept = [_kept(each, inputs) for each in (program.body, body)]
    # A stack holds what goes into each block, instead of six arrays for each.
    assert kept[1] < kept[0] / 2


def _kept(body: Any, inputs: Inputs) -> int:
    """Elements that the pullback holds."""
    run = jaxprs.as_program(body)

    def pullback(weights: Any, others: Any) -> Any:
        return jax.vjp(lambda weights: run(*weights, *others)[0], weights)[1]

    return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(pullback, inputs.weights, inputs.others)))


def test_the_trial_of_a_loop_saves_memory_for_operations() -> None:
    found = tried(by_scan)
    assert found.loop
    assert found.count == DEPTH
    best = found.best
    assert best is not None
    assert best.compiled is not None
    assert not best.undone
    assert best.operations > found.operations
    assert best.gradient_error is not None
    assert best.gradient_error < 1e-5
    assert "jax.checkpoint(block" in found.line


def test_a_program_without_a_repeat_has_nothing_to_try() -> None:
    program = Tracer(Problem(lambda p, x: jnp.sum(x @ p["w"]), {"w": LAYERS[0]}, X)).trace(X)
    assert list(repeats(program.body)) == []


def test_a_block_is_called_by_the_users_function_or_lines() -> None:
    (called,) = [named(each) for each in repeats(prepared(in_a_function)[0].body)]
    assert called.function == "block"
    (looped,) = [named(each) for each in repeats(prepared(in_a_loop)[0].body)]
    assert looped.function == ""
    assert looped.text.endswith("of in_a_loop")
    assert looped.source is not None
    assert looped.source.text.startswith("x = x + jnp.tanh")


@pytest.mark.parametrize(
    ("framework", "line"),
    [
        ("", "Block.__call__ = jax.checkpoint(Block.__call__)"),
        ("Flax NNX", "Block.__call__ = nnx.remat(Block.__call__)"),
        ("Flax Linen", "Block = nn.remat(Block)"),
        ("Equinox", "x = eqx.filter_checkpoint(block)(x)"),
    ],
)
def test_the_line_is_in_the_words_of_the_framework(framework: str, line: str) -> None:
    assert line_for(BlockName("Block.__call__", "", None), "nothing_saveable", framework) == line


def test_a_step_of_a_loop_in_equinox_is_a_function() -> None:
    line = line_for(BlockName("step", "", None), "nothing_saveable", "Equinox")
    assert line == "step = eqx.filter_checkpoint(step)"


def test_a_policy_is_named_in_the_line() -> None:
    line = line_for(BlockName("block", "", None), "dots_saveable", "")
    assert line == "block = jax.checkpoint(block, policy=jax.checkpoint_policies.dots_saveable)"
