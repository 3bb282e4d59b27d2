"""What a compiled program has to write, counted by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from gradscope.footprint.peak import peak_bytes
from gradscope.trace import jaxprs

N = 64
ARRAY = N * N * 4
X = jax.ShapeDtypeStruct((N, N), jnp.float32)


def peak(program: Callable[..., Any], *shapes: Any) -> int:
    return peak_bytes(jaxprs.body_of(jax.make_jaxpr(program)(*shapes or (X,))))


def test_a_chain_of_cheap_operations_is_one_loop() -> None:
    assert peak(lambda x: (2 * x + 1) * x - 3) == 0


def test_what_a_product_reads_is_written() -> None:
    assert peak(lambda x: (2 * x + 1) @ x) == ARRAY
    assert peak(lambda x: x @ x @ x) == ARRAY
    assert peak(lambda x: x @ x) == 0


def test_what_is_expensive_is_written_where_it_is_read_twice() -> None:
    def twice(x: Any) -> Any:
        y = jnp.tanh(x)
        return y[:1], y[1:2]

    assert peak(lambda x: jnp.tanh(x)[:1]) == 0
    assert peak(twice) == ARRAY


def test_the_operand_of_a_product_in_another_order_is_copied() -> None:
    a = jax.ShapeDtypeStruct((2, N, 4, 8), jnp.float32)
    copies = 2 * 2 * N * 4 * 8 * 4
    assert peak(lambda a, b: jnp.einsum("bqhd,bkhd->bhqk", a, b), a, a) == copies


def test_arrays_lie_in_the_room_of_results_that_are_written_later() -> None:
    def program(x: Any) -> Any:
        return jnp.sum(x @ x @ x @ x), jnp.tile(jnp.sum(x @ x), (4 * N, N))

    # Two products at a time, one of them where the last result will be.
    assert peak(program) <= ARRAY + 1024


def test_a_loop_holds_what_it_stacks_and_one_step() -> None:
    steps = jax.ShapeDtypeStruct((10, N, N), jnp.float32)

    def program(xs: Any) -> Any:
        _, kept = lax.scan(lambda h, x: (h @ x, jnp.sin(h @ x)), jnp.ones((N, N)), xs)
        return kept @ jnp.ones((N, N))

    assert 10 * ARRAY <= peak(program, steps) <= 14 * ARRAY


@pytest.mark.parametrize("jitted", [False, True])
def test_a_function_that_is_called_is_written_out(jitted: bool) -> None:
    inner = jax.jit(jnp.tanh) if jitted else jnp.tanh
    assert peak(lambda x: inner(x) @ x) == ARRAY


def test_what_leads_to_no_result_is_left_out() -> None:
    def program(x: Any) -> Any:
        jnp.tanh(x) @ x
        return x + 1

    assert peak(program) == 0
