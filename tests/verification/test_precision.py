"""In which precision a program computes, whatever it is traced in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gradscope.load.problem import Problem
from gradscope.trace.program import Tracer
from gradscope.verification.precision import lowest_precision, widened

Loss = Callable[[Any, Any], Any]


def precision(loss: Loss, params: Any = None) -> str:
    params = {"w": np.ones((3, 3), np.float32)} if params is None else params
    batch = np.ones((2, 3), np.float32)
    with jax.enable_x64(True):
        return str(lowest_precision(Tracer(Problem(loss, params, batch), widened).trace(batch)))


def pinned(dtype: Any) -> Loss:
    return lambda p, x: jnp.sum((x.astype(dtype) @ p["w"].astype(dtype)).astype(jnp.float32))


def in_a_scan(p: Any, x: Any) -> Any:
    def step(h: Any, _: Any) -> Any:
        return (h.astype(jnp.bfloat16) @ p["w"].astype(jnp.bfloat16)).astype(h.dtype), None

    return jnp.sum(lax.scan(step, x, None, length=2)[0])


def in_a_branch(p: Any, x: Any) -> Any:
    return lax.cond(x[0, 0] > 0, lambda w: jnp.sum(w.astype(jnp.float16)), lambda w: jnp.sum(w).astype(
        jnp.float16
    ), p["w"])  # fmt: skip


def test_a_loss_that_pins_nothing_is_widened_whole() -> None:
    assert precision(lambda p, x: jnp.sum(jnp.tanh(x @ p["w"]))) == "float64"
    assert precision(lambda p, x: jnp.sum(x @ p["w"]), {"w": jnp.ones((3, 3), jnp.bfloat16)}) == "float64"


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float16, jnp.bfloat16])
def test_the_dtype_that_a_model_pins_is_seen(dtype: Any) -> None:
    assert precision(pinned(dtype)) == str(jnp.dtype(dtype))
    assert precision(jax.jit(pinned(dtype))) == str(jnp.dtype(dtype))


def test_it_is_seen_inside_loops_and_branches() -> None:
    assert precision(in_a_scan) == "bfloat16"
    assert precision(in_a_branch) == "float16"


def test_constants_and_data_in_another_dtype_do_not_count() -> None:
    constant = jnp.ones((3, 3), jnp.bfloat16)
    assert precision(lambda p, x: jnp.sum((x.astype(jnp.bfloat16) @ constant) @ p["w"])) == "float64"


def test_what_only_the_auxiliary_output_reads_does_not_count() -> None:
    def loss(p: Any, x: Any) -> Any:
        value = jnp.sum(x @ p["w"])
        return value, value.astype(jnp.float16)

    assert precision(loss) == "float64"


def test_integers_keys_and_settings_are_not_widened() -> None:
    tree = {"w": np.ones(2, np.float32), "n": np.arange(3), "heads": 4, "key": jax.random.key(0)}
    with jax.enable_x64(True):
        wide = widened(tree)
    assert wide["w"].dtype == np.float64
    assert wide["n"].dtype == tree["n"].dtype  # type: ignore[attr-defined]
    assert wide["heads"] == 4
    assert wide["key"] is tree["key"]
