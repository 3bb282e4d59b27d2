"""A program that runs forward alone gives the same in blocks and as a whole."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradscope.blocks.block import blocks_where_it_pays
from gradscope.blocks.forward import compile_forward
from gradscope.trace import jaxprs
from gradscope.trace.sites import Plan


@pytest.mark.parametrize(("layers", "cut"), [(40, True), (2, False)])
def test_blocks_give_what_the_whole_gives(layers: int, cut: bool) -> None:
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(8, 8)).astype(np.float32) / 3 for _ in range(layers)]

    def run(x: Any, *weights: Any) -> Any:
        for weight in weights:
            h = x @ weight
            x = jnp.tanh(x + jax.nn.softmax(h) * h - h.mean(-1, keepdims=True))
        return x

    inputs = [rng.normal(size=(3, 8)).astype(np.float32), *weights]
    body = jaxprs.body_of(jax.make_jaxpr(run)(*inputs))
    assert bool(blocks_where_it_pays(body, Plan(), inputs)) is cut
    forward = compile_forward(body, inputs, runs=2)
    (found,) = forward(inputs)
    np.testing.assert_allclose(found, run(*inputs), rtol=1e-5)
    np.testing.assert_array_equal(found, forward(inputs)[0])
