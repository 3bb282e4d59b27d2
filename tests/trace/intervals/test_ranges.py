"""Ranges against the slow way: no value that a random program computes lies outside what is known of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from jax import lax

from gradscope.trace.domains.intervals.known import Known
from gradscope.trace.domains.intervals.survey import Survey
from gradscope.trace.jaxprs import body_of
from gradscope.trace.walk import walk

X = np.array([[-3.0, -1.0, -0.5, 0.0], [0.25, 0.5, 1.0, 3.0], [1e-3, -1e-3, 2.0, -2.0]], np.float32)
Y = np.roll(X, 5).reshape(3, 4)

ONE: dict[str, Callable[[Any], Any]] = {
    "exp": lambda a: jnp.exp(jnp.minimum(a, 50)),
    "log": lambda a: jnp.log(jnp.abs(a) + 1e-3),
    "neg": lambda a: -a,
    "abs": jnp.abs,
    "square": lambda a: a * a,
    "cube": lambda a: a**3,
    "outer": lambda a: a[:, :1] * a[:1, :],
    "sqrt": lambda a: jnp.sqrt(jnp.abs(a)),
    "rsqrt": lambda a: lax.rsqrt(a**2 + 0.1),
    "inverse": lambda a: (jnp.abs(a) + 0.5) ** -1,
    "power": lambda a: jnp.abs(a) ** 1.5,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "softmax": jax.nn.softmax,
    "softplus": jax.nn.softplus,
    "relu": jax.nn.relu,
    "sine": jnp.sin,
    "clip": lambda a: jnp.clip(a, -0.5, 0.75),
    "floor": jnp.floor,
    "integer": lambda a: jnp.clip(a, -9, 9).astype(int).astype(jnp.float32),
    "complement": lambda a: 1 - a,
    "shift": lambda a: a - jnp.max(a, axis=-1, keepdims=True),
    "mean": lambda a: a - jnp.mean(a, axis=0),
    "sum": lambda a: jnp.broadcast_to(jnp.sum(a, axis=-1, keepdims=True), (3, 4)),
    "least": lambda a: jnp.broadcast_to(jnp.min(a), (3, 4)),
    "cumsum": lambda a: jnp.cumsum(a, axis=0),
    "cumprod": lambda a: jnp.cumprod(jnp.clip(a, -2, 2), axis=1),
    "sort": lambda a: jnp.sort(a, axis=-1),
    "turn": lambda a: a.T.reshape(3, 4),
    "flip": lambda a: a[::-1],
    "gram": lambda a: (a @ a.T) @ a,
    "norms": lambda a: jnp.broadcast_to(jnp.einsum("ij,ij->i", a, a)[:, None], (3, 4)),
    "or one": lambda a: jnp.where(a > 0, a, 1.0),
    "not zero": lambda a: jnp.where(a == 0, 1.0, a),
    "far": lambda a: jnp.where(jnp.abs(a) < 0.3, 0.3, a),
    "not both": lambda a: jnp.where((a > 0.1) | (a < -0.1), a, 2.0),
    "loop": lambda a: lax.scan(lambda c, row: (c * 0.5 + row, c), a[0], a)[1],
    "branch": lambda a: lax.cond(a[0, 0] > 0, jnp.abs, jnp.tanh, a),
    "jit": lambda a: jax.jit(lambda a: jnp.exp(-jnp.abs(a)))(a),
    "remat": lambda a: jax.checkpoint(lambda a: a**2 + 1)(a),
}
TWO: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / (jnp.abs(b) + 0.1),
    "ratio": lambda a, b: jnp.exp(jnp.tanh(a)) / (jnp.exp(jnp.tanh(a)) + jnp.exp(jnp.tanh(b))),
    "max": jnp.maximum,
    "min": jnp.minimum,
    "where": lambda a, b: jnp.where(a > b, a, b),
    "stack": lambda a, b: jnp.concatenate([a[:1], b[1:]]),
    "below the maximum": lambda a, b: a - jnp.maximum(a, b),
}

Tree = Any
"""A number of an input, `(name, tree)` or `(name, tree, tree)`."""
TREES: st.SearchStrategy[Tree] = st.recursive(
    st.sampled_from([0, 1]),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(sorted(ONE)), inner), st.tuples(st.sampled_from(sorted(TWO)), inner, inner)
    ),
    max_leaves=5,
)


def run(tree: Tree, x: Any, y: Any) -> Any:
    if isinstance(tree, int):
        return (x, y)[tree]
    parts = [run(part, x, y) for part in tree[1:]]
    return ONE[tree[0]](*parts) if len(parts) == 1 else TWO[tree[0]](*parts)


def known_of(tree: Tree) -> Known:
    closed = jax.make_jaxpr(lambda x, y: run(tree, x, y))(X, Y)
    ends = Known(-3.0, 3.0)
    (out,) = walk(Survey(made_inputs=False), body_of(closed), [ends, ends], None)
    return out


def holds(known: Known, values: Any) -> bool:
    finite = values[np.isfinite(values)].astype(np.float64)
    slack = 1e-5 * (1 + np.abs(finite))
    inside = np.all(finite >= known.low - slack) and np.all(finite <= known.high + slack)
    return bool(inside and not (known.nonzero and known.low <= 0 <= known.high and np.any(finite == 0)))


@settings(max_examples=settings.default.max_examples // 5)
@given(TREES)
def test_every_value_lies_in_its_range(tree: Tree) -> None:
    assert holds(known_of(tree), np.asarray(run(tree, jnp.asarray(X), jnp.asarray(Y))))


@pytest.mark.parametrize("name", sorted(ONE))
def test_every_value_of_one_operation_lies_in_its_range(name: str) -> None:
    for tree in ((name, 0), (name, ("exp", 0)), (name, (name, 1)), (name, ("not zero", 0))):
        assert holds(known_of(tree), np.asarray(run(tree, jnp.asarray(X), jnp.asarray(Y)))), tree


@pytest.mark.parametrize(
    ("tree", "low", "high"),
    [
        (("exp", ("neg", ("square", 0))), math.exp(-9), 1.0),
        (("complement", ("sigmoid", 0)), 1 / (1 + math.exp(3)), 1 / (1 + math.exp(-3))),
        (("sum", ("softmax", 0)), 0.0, 4.0),
        (("or one", 0), 0.0, 3.0),
        (("far", 0), -3.0, 3.0),
        (("below the maximum", 0, 1), -6.0, 0.0),
        (("ratio", 0, 1), 0.0, 1.0),
        (("loop", ("abs", 0)), 0.0, math.inf),
    ],
)
def test_a_range_is_as_narrow_as_the_expression_tells(tree: Tree, low: float, high: float) -> None:
    known = known_of(tree)
    assert (known.low, known.high) == (pytest.approx(low), pytest.approx(high))


def test_the_oracle_can_fail() -> None:
    assert not holds(Known(0.0, 1.0), np.array([1.5]))
    assert not holds(Known(-1.0, 1.0, nonzero=True), np.array([0.0]))
