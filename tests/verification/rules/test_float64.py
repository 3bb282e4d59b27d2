"""Functions run in float64, whatever equations they are made of."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gradscope.trace import jaxprs
from gradscope.verification.rules.derivatives import in_float64
from gradscope.verification.rules.find import find_rule_calls
from tests.verification.rules.made import normal, with_vjp


def attention(x: Any) -> Any:
    q, k, v = (
        jnp.einsum("td,de->te", x, w) for w in (x.T @ x, x.T, jnp.cos(x.T)) if w.shape[0] == x.shape[1]
    )
    return jax.nn.softmax(q @ x.T) @ x + 0 * jnp.sum(k) + 0 * jnp.sum(v)


def convolution(x: Any) -> Any:
    return lax.conv_general_dilated(x[None, None], x[None, None, :2, :2], (1, 1), "SAME")


def loops(x: Any) -> Any:
    y = lax.scan(lambda h, r: (jnp.tanh(h + r), h * r), x[0], x)[1]
    return lax.while_loop(lambda c: c[1] < 3, lambda c: (jnp.sin(c[0]), c[1] + 1), (y, 0))[0]


def pieces(x: Any) -> Any:
    y = x.at[1].add(x[0]).at[:, 2].set(0.5)
    z = jnp.sort(jnp.concatenate([y, y[::-1]]), axis=0)[2 * lax.iota(int, 3) % 5]
    return lax.dynamic_slice(jnp.pad(jnp.cumsum(z, axis=1), 1), (1, 0), (2, 3)) + lax.top_k(x, 3)[0][:2]


def mixed(x: Any) -> Any:
    low = x.astype(jnp.bfloat16) @ x.T.astype(jnp.bfloat16)
    return jnp.dot(low, low, preferred_element_type=jnp.float32) + jnp.zeros(3, jnp.float16)[0]


def branches(x: Any) -> Any:
    return lax.switch(1, [jnp.sin, lambda x: jnp.where(x > 0, x**2.5, jnp.expm1(x)), jnp.cos], x)


def noise(x: Any) -> Any:
    return x * jax.random.bernoulli(jax.random.key(0), 0.5, x.shape) + jax.nn.one_hot(jnp.arange(3), 4)


def ruled(x: Any) -> Any:
    return jax.nn.gelu(jax.nn.relu(x) + jax.scipy.special.logsumexp(x, axis=0)) / jnp.linalg.norm(x)


@pytest.mark.few(2)
@pytest.mark.parametrize(
    "function",
    [attention, convolution, loops, pieces, mixed, branches, noise, ruled],
    ids=lambda f: f.__name__,
)
def test_a_function_in_float64_gives_what_it_gives_when_traced_in_float64(function: Any) -> None:
    x = normal(3, 4)
    body = jaxprs.body_of(jax.make_jaxpr(with_vjp(function, lambda r, g: None))(x))
    call, *_ = find_rule_calls(body, 1)
    narrow = function(x)
    with jax.enable_x64(True):
        (found,) = in_float64(call)([x])
        # Random numbers are those of the program itself; in float64 others would be drawn.
        expected = narrow if function is noise else function(jnp.asarray(np.asarray(x), jnp.float64))
        assert found.dtype == jnp.float64
        tolerance = 0.1 if function is mixed else 1e-6 if function in (ruled, noise) else 1e-13
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
