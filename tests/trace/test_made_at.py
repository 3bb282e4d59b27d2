"""The line at which a mask is made, wherever it is put on the scores."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from gradscope.records import Source
from gradscope.trace.jaxprs import Body, body_of
from gradscope.trace.made_at import made_at
from gradscope.trace.nested.registry import inside

X = jnp.ones((3, 3))


def direct(x: Any) -> Any:
    mask = jnp.triu(jnp.ones((3, 3), bool))  # made
    return jnp.where(mask, x, -1e9).sum()


def broadcast(x: Any) -> Any:
    keep = lax.broadcasted_iota(int, (3, 3), 0) <= 2 * lax.broadcasted_iota(int, (3, 3), 1)  # made
    return jnp.where(keep.astype(bool)[None], x[None], -1e9).sum()


def in_a_loop(x: Any) -> Any:
    mask = jnp.triu(jnp.ones((3, 3), bool))  # made

    def step(h: Any, _: Any) -> Any:
        return jnp.where(mask, h, -1e9), None

    return lax.scan(step, x, None, length=2)[0].sum()


def called(x: Any) -> Any:
    return jax.jit(direct)(x)


def constant(x: Any) -> Any:
    return jnp.where(X > 0, x, -1e9).sum()  # made


def twice_at_one_line(x: Any) -> Any:
    mask = jnp.triu(jnp.ones((3, 3), bool))  # made
    for _ in range(2):
        x = jnp.where(mask, x, -1e9)
    return x.sum()


@jax.jit
def kept(mask: Any, x: Any) -> Any:
    return lax.select(mask, x, -x)


def twice_apart(x: Any) -> Any:
    x = kept(lax.gt(x, 0.0), x)
    return kept(lax.lt(x, 3.0), x).sum()


def line_of(function: Callable[..., Any]) -> Source | None:
    body = body_of(jax.make_jaxpr(function)(X))
    eqn = next(_all(body, "select_n"))
    return made_at(body, eqn, 0)


def _all(body: Body, name: str) -> Any:
    for eqn in body.eqns:
        if eqn.primitive.name == name:
            yield eqn
        elif (carried := inside(eqn)) is not None:
            for entry in carried.entries:
                yield from _all(entry.body, name)


@pytest.mark.parametrize("function", [direct, broadcast, in_a_loop, called, constant, twice_at_one_line])
def test_a_mask_has_the_line_at_which_it_is_made(function: Callable[..., Any]) -> None:
    found = line_of(function)
    lines, start = inspect.getsourcelines(direct if function is called else function)
    wanted = next(start + place for place, line in enumerate(lines) if "# made" in line)
    assert found is not None
    assert found.line == wanted


def test_a_function_that_masks_at_several_lines_is_ambiguous() -> None:
    assert line_of(twice_apart) is None
