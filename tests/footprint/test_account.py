"""What backward keeps, against sizes counted by hand and against what the pullback of `jax.vjp` holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gradscope.footprint.account import account, compiled_memory
from gradscope.load.problem import Problem
from gradscope.records import Memory
from gradscope.trace.program import Inputs, Program, Tracer

ROWS, INPUTS, WIDTH, STEPS = 8, 4, 3, 5
FLOAT = 4
X = np.linspace(-1, 1, ROWS * INPUTS, dtype=np.float32).reshape(ROWS, INPUTS)
W1 = np.linspace(-0.5, 0.5, INPUTS * WIDTH, dtype=np.float32).reshape(INPUTS, WIDTH)
W2 = np.linspace(-0.5, 0.5, WIDTH * WIDTH, dtype=np.float32).reshape(WIDTH, WIDTH)
PARAMS = {"first": {"w": W1}, "second": {"w": W2}}


def traced(loss: Callable[[Any, Any], Any], params: Any = PARAMS, batch: Any = X) -> tuple[Program, Inputs]:
    tracer = Tracer(Problem(loss, params, batch))
    return tracer.trace(batch), tracer.inputs(batch)


def of(loss: Callable[[Any, Any], Any], params: Any = PARAMS, batch: Any = X) -> Memory:
    return account(*traced(loss, params, batch), optimizer_state=None, rows=None)


def made(found: Memory) -> list[tuple[str, str, tuple[int, ...], int]]:
    return sorted((a.made_by.primitive, a.made_by.rule, a.shape, a.steps) for a in found.kept)


def linear(params: Any, x: Any) -> Any:
    return jnp.sum(x @ params["first"]["w"] @ params["second"]["w"])


def sines(params: Any, x: Any) -> Any:
    h = jnp.sin(x @ params["first"]["w"])
    return jnp.sum(jnp.sin(h @ params["second"]["w"]))


def recurrent(params: Any, x: Any) -> Any:
    def step(h: Any, u: Any) -> Any:
        return jnp.sin(h @ params["second"]["w"] + u), None

    drive = x @ params["first"]["w"]
    return jnp.sum(lax.scan(step, jnp.zeros_like(drive), jnp.broadcast_to(drive, (STEPS, *drive.shape)))[0])


def test_a_linear_network_keeps_what_goes_into_its_second_layer() -> None:
    found = of(linear)
    assert made(found) == [("dot_general", "dot_general", (ROWS, WIDTH), 1)]
    assert found.residuals == ROWS * WIDTH * FLOAT
    assert found.parameters == found.gradients == (INPUTS * WIDTH + WIDTH * WIDTH) * FLOAT


def test_arguments_that_backward_reads_are_not_counted_twice() -> None:
    found = of(linear)
    # Of the first weight nothing is read: no gradient of the batch is asked for.
    assert found.kept_arguments == (X.size + W2.size) * FLOAT
    key = 8
    assert found.data == X.size * FLOAT + key


def test_the_rule_that_made_an_array_and_the_layer_that_reads_it() -> None:
    found = of(sines)
    arrays = [
        (a.layer, a.made_by.primitive, a.made_by.rule, a.read_by and a.read_by.rule) for a in found.kept
    ]
    assert sorted(arrays) == [
        ("first", "cos", "sin", "sin"),
        ("first", "sin", "sin", "dot_general"),
        ("second", "cos", "sin", "sin"),
    ]
    assert found.residuals == 3 * ROWS * WIDTH * FLOAT


def test_the_line_is_the_users() -> None:
    (array,) = of(linear).kept
    assert array.made_by.source is not None
    assert array.made_by.source.text.startswith("return jnp.sum(x @")


def test_a_loop_keeps_its_arrays_for_each_step() -> None:
    found = of(recurrent)
    stacked = [a for a in found.kept if a.steps > 1]
    assert sorted(a.made_by.primitive for a in stacked) == ["cos", "sin"]
    assert {a.shape for a in stacked} == {(STEPS, ROWS, WIDTH)}
    assert {a.steps for a in stacked} == {STEPS}
    assert found.residuals == 2 * STEPS * ROWS * WIDTH * FLOAT


def test_a_checkpoint_keeps_only_what_goes_in() -> None:
    def loss(params: Any, x: Any) -> Any:
        h = jnp.sin(x @ params["first"]["w"])
        block = jax.checkpoint(lambda h, w: jnp.sin(jnp.sin(h @ w) @ w))
        return jnp.sum(block(h, params["second"]["w"]))

    found = of(loss)
    assert made(found) == [("cos", "sin", (ROWS, WIDTH), 1), ("sin", "sin", (ROWS, WIDTH), 1)]


def test_a_policy_keeps_what_it_saves() -> None:
    def loss(params: Any, x: Any) -> Any:
        block = jax.checkpoint(
            lambda x, w: jnp.sin(jnp.sin(x @ w)), policy=jax.checkpoint_policies.dots_saveable
        )
        return jnp.sum(block(x, params["first"]["w"]))

    (array,) = of(loss, {"first": {"w": W1}}).kept
    assert (array.made_by.rule, array.shape) == ("dot_general", (ROWS, WIDTH))


def test_a_custom_rule_keeps_what_its_forward_returns() -> None:
    @jax.custom_vjp
    def double(x: Any) -> Any:
        return 2 * x

    def forward(x: Any) -> Any:
        return 2 * x, jnp.tanh(x).astype(jnp.bfloat16)

    double.defvjp(forward, lambda kept, ct: (2 * ct * kept.astype(jnp.float32),))

    def loss(params: Any, x: Any) -> Any:
        return jnp.sum(double(x @ params["first"]["w"]))

    (array,) = of(loss, {"first": {"w": W1}}).kept
    assert (array.dtype, array.size) == ("bfloat16", ROWS * WIDTH * 2)


def test_branches_share_what_they_keep() -> None:
    def loss(params: Any, x: Any) -> Any:
        h = x @ params["first"]["w"]
        return jnp.sum(lax.cond(x[0, 0] > 0, jnp.sin, jnp.exp, h))

    # Only one of them runs: what the other would keep goes into the same array.
    arrays = [a for a in of(loss, {"first": {"w": W1}}).kept if a.shape]
    assert [(a.shape, a.size) for a in arrays] == [((ROWS, WIDTH), ROWS * WIDTH * FLOAT)]
    assert arrays[0].made_by.rule in ("sin", "exp")


def test_inside_jit_it_is_the_same() -> None:
    assert made(of(jax.jit(sines))) == made(of(sines))


def test_weights_that_two_layers_share_are_not_counted() -> None:
    def loss(params: Any, x: Any) -> Any:
        h = x @ params["first"]["w"]
        return jnp.sum(h @ params["second"]["w"] @ params["second"]["w"])

    found = of(loss)
    assert found.residuals == 2 * ROWS * WIDTH * FLOAT


def transformer(params: Any, x: Any) -> Any:
    h = x[:, None, :] + jnp.arange(5.0)[:, None]
    h = (h - h.mean(-1, keepdims=True)) * lax.rsqrt(h.var(-1, keepdims=True) + 1e-5)
    q = h @ params["first"]["w"]
    mixed = jax.nn.softmax(jnp.einsum("bqd,bkd->bqk", q, q)) @ q
    return jnp.mean(jax.nn.gelu(mixed @ params["second"]["w"]) ** 2)


@pytest.mark.parametrize("loss", [linear, sines, recurrent, transformer, jax.jit(transformer)])
def test_the_sum_is_what_the_pullback_holds(loss: Callable[[Any, Any], Any]) -> None:
    held = jax.tree.leaves(jax.jit(lambda params: jax.vjp(lambda p: loss(p, X), params)[1])(PARAMS))
    given = [np.asarray(leaf) for leaf in (W1, W2, X)]
    own = [
        np.asarray(leaf)
        for leaf in held
        if leaf.ndim  # numbers that tracing knows are in the program
        and not any(leaf.shape == g.shape and np.array_equal(np.asarray(leaf), g) for g in given)
    ]
    assert of(loss).residuals == sum(leaf.nbytes for leaf in own)


def test_the_account_agrees_with_xla() -> None:
    # Large enough for the 64 bytes to which XLA rounds each array not to count.
    program, inputs = traced(sines, PARAMS, np.tile(X, (64, 1)))
    found = account(program, inputs, None, None)
    compiled, _ = compiled_memory(program.body, inputs.weights, inputs.others)
    assert found.accounted == pytest.approx(compiled.peak, rel=0.1)
