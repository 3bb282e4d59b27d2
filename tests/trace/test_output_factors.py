"""The constant that follows a layer's output, however it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from gradscope.load.problem import Problem
from gradscope.trace.output_factors import output_factors
from gradscope.trace.program import Tracer

X = jnp.ones((3, 16))
PARAMS = {"w": jnp.ones((16, 2)), "b": jnp.ones(2)}


def factor(after: Callable[[Any], Any], bias: bool = False) -> float:
    def loss(params: Any, x: Any) -> Any:
        z = x @ params["w"]
        z = z + params["b"] if bias else z
        return jnp.mean(after(z) ** 2)

    tracer = Tracer(Problem(loss, PARAMS, X))
    program = tracer.trace(X)
    (found,) = set(output_factors(program).values())
    return found


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (lambda z: z / 16, 1 / 16),
        (lambda z: 0.25 * z, 0.25),
        (lambda z: z / jnp.sqrt(16.0), 0.25),
        (lambda z: -jnp.reshape(z, (-1,)) * 0.5 * 0.5, 0.25),
        (jax.jit(lambda z: z * 0.5), 0.5),
        (lambda z: z * 0.5 + z, 1.0),  # something else reads it, too
        (lambda z: 0.5 / z, 1.0),
        (lambda z: jnp.tanh(z) * 0.5, 1.0),
        (lambda z: z * jnp.arange(1.0, 3.0), 1.0),
        (lambda z: z, 1.0),
    ],
)
def test_a_constant_is_found_where_nothing_else_reads_the_output(
    after: Callable[[Any], Any], expected: float
) -> None:
    assert factor(after) == pytest.approx(expected)


def test_it_is_found_behind_a_bias() -> None:
    assert factor(lambda z: z / 16, bias=True) == pytest.approx(1 / 16)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (lambda z: (z / 16**0.5, None), 0.25),
        (lambda z: (jnp.tanh(z / jnp.sqrt(16.0)), None), 0.25),
        (lambda z: (z * 0.5, z), 1.0),  # the loop hands it out, too
        (lambda z: (z, None), 1.0),
    ],
)
def test_in_a_loop_it_is_found_where_the_loop_makes_it(step: Callable[[Any], Any], expected: float) -> None:
    def loss(params: Any, x: Any) -> Any:
        h, seen = jax.lax.scan(lambda h, w: step(h @ w), x, params)
        return jnp.mean(h**2) + (0.0 if seen is None else jnp.mean(seen**2))

    program = Tracer(Problem(loss, jnp.ones((3, 16, 16)), X)).trace(X)
    (found,) = set(output_factors(program).values())
    assert found == pytest.approx(expected)
