"""When two equations are the same: each pair here must, or must not, share one compiled block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array, lax

from gradscope.trace.jaxprs import identity as module
from gradscope.trace.jaxprs.identity import Identity

X = np.ones(3, np.float32)


def numbers(function: Callable[[Array], Any], *args: Any) -> list[int]:
    identity = Identity()
    return [identity.equation(eqn) for eqn in jax.make_jaxpr(function)(*(args or (X,))).jaxpr.eqns]


def rule(slope: float) -> Callable[[Array], Array]:
    """A new function with a derivative of its own, as a layer makes one for each call."""

    @jax.custom_vjp
    def double(x: Array) -> Array:
        return 2 * x

    double.defvjp(lambda x: (2 * x, None), lambda _, ct: (slope * ct,))
    return double


def tangent_rule(slope: float) -> Callable[[Array], Array]:
    @jax.custom_jvp
    def double(x: Array) -> Array:
        return 2 * x

    double.defjvp(lambda x, t: (2 * x[0], slope * t[0]))
    return double


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (jnp.sin, jnp.sin),
        (jax.nn.relu, jax.nn.relu),
        (rule(2.0), rule(2.0)),
        (tangent_rule(2.0), tangent_rule(2.0)),
        (jax.checkpoint(lambda x: jnp.sin(x) * 2), jax.checkpoint(lambda x: jnp.sin(x) * 2)),
        (jax.checkpoint(rule(2.0)), jax.checkpoint(rule(2.0))),
        (lambda x: lax.scan(lambda c, _: (c * 2, None), x, None, 4)[0],
         lambda y: lax.scan(lambda c, _: (c * 2, None), y, None, 4)[0]),
    ],
)  # fmt: skip
def test_what_does_the_same_has_one_number(
    one: Callable[[Array], Array], other: Callable[[Array], Array]
) -> None:
    found = numbers(lambda x: (one(x), other(x)))
    half = len(found) // 2
    assert found[:half] == found[half:]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (jnp.sin, jnp.cos),
        (lambda x: x * 2, lambda x: x * 3),
        (lambda x: lax.reduce_sum(x[None], (0,)), lambda x: lax.reduce_sum(x[None], (1,))),
        (rule(2.0), rule(3.0)),
        (tangent_rule(2.0), tangent_rule(3.0)),
        (jax.jit(rule(2.0)), jax.jit(rule(3.0))),
        (jax.checkpoint(rule(2.0)), jax.checkpoint(rule(3.0))),
        (lambda x: lax.scan(lambda c, _: (c * 2, None), x, None, 4)[0],
         lambda x: lax.scan(lambda c, _: (c * 2, None), x, None, 5)[0]),
        (lambda x: lax.scan(lambda c, _: (c * 2, None), x, None, 4)[0],
         lambda x: lax.scan(lambda c, _: (c * 3, None), x, None, 4)[0]),
        (jax.jit(lambda x: x - np.arange(3, dtype=np.float32)),
         jax.jit(lambda x: x - np.arange(1, 4, dtype=np.float32))),
    ],
)  # fmt: skip
def test_what_differs_has_two_numbers(one: Callable[[Array], Array], other: Callable[[Array], Array]) -> None:
    found = numbers(lambda x: (one(x), other(x)))
    half = len(found) // 2
    assert found[:half] != found[half:]


def test_types_tell_equations_apart() -> None:
    found = numbers(lambda x: (jnp.sin(x), jnp.sin(x.astype(jnp.bfloat16)), jnp.sin(x[:2])))
    assert len(set(found)) == len(found)


def test_a_callback_of_another_function_is_another_equation() -> None:
    def called(function: Callable[[Any], Any]) -> Callable[[Array], Array]:
        return lambda x: jax.pure_callback(function, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    found = numbers(lambda x: (called(lambda v: v)(x), called(lambda v: 2 * v)(x)))
    assert found[0] != found[1]


def test_a_rule_that_jax_traced_once_is_differentiated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    traced: list[Any] = []
    derivative = module._with_derivative
    monkeypatch.setattr(module, "_with_derivative", lambda eqn: traced.append(eqn) or derivative(eqn))
    double = jax.jit(rule(2.0))
    first, _, second = numbers(lambda x: double(jnp.sin(double(x))))
    assert first == second
    assert len(traced) == 1
