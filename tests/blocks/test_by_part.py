"""A program of many like parts in blocks gives what it gives as a whole: updates, leaf by leaf."""

from __future__ import annotations

from typing import Any

import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradscope.blocks.block import blocks_of
from gradscope.blocks.by_part import by_part, compile_by_part
from gradscope.trace import jaxprs
from gradscope.trace.sites import Plan
from tests.trace.oracle import normal

LAYERS = 12
PARAMS = [{"w": normal(i, 6, 4), "b": normal(50 + i, 4), "scale": np.float32(i)} for i in range(LAYERS)]
GRADIENTS = [{"w": normal(i, 6, 4), "b": normal(90 + i, 4), "scale": np.float32(1)} for i in range(20, 32)]
OPTIMIZERS = {
    "adam": optax.adam(1e-3),
    "clipped": optax.chain(optax.clip_by_global_norm(0.1), optax.adamw(1e-2)),
    "lamb": optax.lamb(1e-2),
    "sgd": optax.sgd(0.1, momentum=0.9, nesterov=True),
    "masked": optax.masked(optax.adam(1e-2), [{"w": True, "b": False, "scale": True}] * LAYERS),
}


def step(optimizer: Any) -> Any:
    def advanced(params: Any, gradients: Any, state: Any) -> Any:
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, None

    return advanced


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_update_by_parts_is_the_update(name: str) -> None:
    advanced = step(OPTIMIZERS[name])
    given = PARAMS, GRADIENTS, OPTIMIZERS[name].init(PARAMS)
    run = compile_by_part(advanced, given, runs=1)
    found, truth = given, given
    for _ in range(2):
        found, truth = ((out[0], GRADIENTS, out[1]) for out in (run(*found), jax.jit(advanced)(*truth)))
    assert jax.tree.structure(found) == jax.tree.structure(truth)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(truth), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=1e-7)


def test_the_blocks_do_not_grow_with_the_leaves() -> None:
    optimizer = OPTIMIZERS["clipped"]
    matrices = [layer["w"] for layer in PARAMS]
    given, structure = jax.tree.flatten((matrices, matrices, optimizer.init(matrices)))

    def flat(*leaves: Any) -> list[Any]:
        return jax.tree.leaves(step(optimizer)(*jax.tree.unflatten(structure, leaves)))

    body = jaxprs.body_of(jax.make_jaxpr(flat)(*given))
    blocks = blocks_of(by_part(body), Plan(), outputs=None)
    compiled = sum(len(block.body.eqns) for block in {block.key: block for block in blocks}.values())
    assert compiled < len(by_part(body).eqns) / 3


def test_an_output_may_be_an_input_a_number_or_nothing() -> None:
    run = compile_by_part(
        lambda x, y: (y, 2.0, None, [x, x + 1], jnp.sin(y)), (np.ones(3), np.zeros(2)), runs=1
    )
    y, two, nothing, (x, more), zero = run(np.ones(3), np.zeros(2))
    assert (float(two), nothing) == (2.0, None)
    for found, truth in ((y, np.zeros(2)), (x, np.ones(3)), (more, 2 * np.ones(3)), (zero, np.zeros(2))):
        np.testing.assert_array_equal(found, truth)


def test_what_the_function_raises_is_raised() -> None:
    def refuses(x: Any) -> Any:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        compile_by_part(refuses, (np.ones(2),), runs=1)


def test_what_is_done_beside_the_results_keeps_its_order() -> None:
    said: list[str] = []

    def advanced(x: Any) -> Any:
        kept = jax.new_ref(jnp.zeros(3))
        jax.experimental.io_callback(lambda: said.append("first"), None, ordered=True)
        kept[...] = 2 * x
        jax.experimental.io_callback(lambda: said.append("second"), None, ordered=True)
        return kept[...] + 1

    run = compile_by_part(advanced, (np.ones(3, np.float32),), runs=1)
    np.testing.assert_array_equal(run(np.ones(3, np.float32)), 3 * np.ones(3))
    jax.effects_barrier()
    assert said == ["first", "second"]
