"""Sums that a program adds up in a small format, told from those that it widens."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gradscope.measure.narrow_sums import narrow_sums
from gradscope.trace import jaxprs

X = jnp.ones((4, 64), jnp.bfloat16)


def sums(function: Any, *values: Any) -> list[tuple[str, str, int]]:
    body = jaxprs.body_of(jax.make_jaxpr(function)(*values))
    return [(each.op, each.dtype, each.length) for each in narrow_sums(body)]


def test_cumulated_sums_and_those_told_to_be_narrow_are_found_at_any_depth() -> None:
    def looped(x: Any) -> Any:
        return lax.scan(lambda total, row: (total + jnp.cumsum(row)[-1], None), jnp.bfloat16(0), x)[0]

    assert sums(lambda x: jnp.cumsum(x, 1).astype(jnp.float32).sum(), X) == [("cumsum", "bfloat16", 64)]
    assert sums(looped, X) == [("cumsum", "bfloat16", 64)]
    narrow = X.astype(jnp.float16)
    assert sums(lambda x: lax.reduce_sum(x, (0, 1)), narrow) == [("reduce_sum", "float16", 256)]


def test_jax_own_sums_and_means_widen_and_products_are_no_sums() -> None:
    assert not sums(lambda x: x.sum() + x.mean(), X)
    assert not sums(lambda x: (x @ x.T)[0, 0], X)
    assert not sums(lambda x: jnp.cumsum(x.astype(jnp.float32)).sum(), X)


def test_short_ones_and_those_that_the_loss_does_not_read_are_not_told() -> None:
    assert not sums(lambda x: lax.reduce_sum(x[:, :15], (1,))[0], X)
    assert not sums(lambda x: (x[0, 0], jnp.cumsum(x, 1)), X)
