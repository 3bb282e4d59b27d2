"""Loops whose state goes through a gate, and loops that look like it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from gradscope.trace.gating import added_states, gated_states

W = jnp.full((4, 4), 0.1)
Step = Callable[[Any, Any], Any]


def sigmoid_of(h: Any, x: Any) -> Any:
    return jax.nn.sigmoid(h @ W + x)


def lstm(state: Any, x: Any) -> Any:
    h, c = state
    i, f, g, o = jnp.split(jnp.tile(h @ W + x, 4), 4, axis=-1)
    c = jax.nn.sigmoid(f + 1.0) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def gru(h: Any, x: Any) -> Any:
    z, r = sigmoid_of(h, x), sigmoid_of(h, x + 1)
    return (1.0 - z) * jnp.tanh((r * h) @ W + x) + z * h


def lerp(h: Any, x: Any) -> Any:
    return h + sigmoid_of(h, x) * (jnp.tanh(h @ W + x) - h)


def joined_gates(h: Any, x: Any) -> Any:
    gates = jax.nn.sigmoid(jnp.concatenate([h @ W + x, h @ W - x], axis=-1))
    return gates[..., :4] * h + gates[..., 4:] * x


def masked(h: Any, x: Any) -> Any:
    return jnp.where(x > 0, gru(h, x), h)


def state_space(h: Any, x: Any) -> Any:
    return jnp.exp(-jax.nn.softplus(x)) * h + x


GATED: dict[str, Step] = {
    "lstm": lstm,
    "gru": gru,
    "lerp": lerp,
    "joined gates": joined_gates,
    "masked steps": masked,
    "selective state space": state_space,
    "inside jit": lambda h, x: jax.jit(gru)(h, x),
    "rematerialized": lambda h, x: jax.checkpoint(gru)(h, x),
    "vmapped": lambda h, x: jax.vmap(gru)(h, x),
    "a sigmoid written out": lambda h, x: h / (1 + jnp.exp(-(h @ W + x))) + x,
    "its reciprocal": lambda h, x: (1.0 / (1.0 + jnp.exp(-(h @ W + x)))) * h + x,
    "a sigmoid by tanh": lambda h, x: 0.5 * (jnp.tanh(h @ W + x) + 1.0) * h + x,
    "gates that share one": lambda h, x: jax.nn.softmax(jnp.stack([x, h @ W]), axis=0)[0] * h + x,
    "hard sigmoid": lambda h, x: jax.nn.hard_sigmoid(h @ W + x) * h + x,
}
PLAIN: dict[str, Step] = {
    "tanh": lambda h, x: jnp.tanh(h @ W + x),
    "sigmoid": sigmoid_of,
    "a sigmoid and a skip": lambda h, x: h + sigmoid_of(h, x),
    "leaky by a constant": lambda h, x: 0.9 * h + 0.1 * jnp.tanh(h @ W + x),
    "a gate on the input only": lambda h, x: jnp.tanh(h @ W) + jax.nn.sigmoid(x) * x,
    "a reset gate only": lambda h, x: jnp.tanh((sigmoid_of(h, x) * h) @ W + x),
    "swish": lambda h, x: jax.nn.silu(h @ W + x),
    "two states that change places behind a gate": lambda s, x: (sigmoid_of(s[0], x) * s[1], jnp.tanh(s[0])),
}


def loop_of(step: Step) -> Any:
    start: Any = jnp.ones((3, 4))
    pair = step in (lstm, PLAIN["two states that change places behind a gate"])
    xs = jnp.ones((5, 3, 4))
    run = jax.make_jaxpr(lambda s: lax.scan(lambda s, x: (step(s, x), None), s, xs)[0])
    (eqn,) = [e for e in run((start, start) if pair else start).jaxpr.eqns if e.primitive.name == "scan"]
    return eqn


@pytest.mark.parametrize("name", GATED)
def test_a_gate_on_the_way_of_the_state_is_seen(name: str) -> None:
    states = gated_states(loop_of(GATED[name]))
    assert states == ({0, 1} if GATED[name] is lstm else {0})


@pytest.mark.parametrize("name", PLAIN)
def test_a_loop_without_one_is_not_called_gated(name: str) -> None:
    assert not gated_states(loop_of(PLAIN[name]))


def test_a_plain_state_beside_a_gated_one_is_not_gated() -> None:
    def both(state: Any, x: Any) -> Any:
        h, mean = state
        gate = jax.nn.sigmoid(x)
        return jnp.tanh(h @ W + x), gate * mean + (1 - gate) * h

    start = jnp.ones((3, 4))
    run = jax.make_jaxpr(lambda s: lax.scan(lambda s, x: (both(s, x), None), s, jnp.ones((5, 3, 4)))[0])
    (eqn,) = [e for e in run((start, start)).jaxpr.eqns if e.primitive.name == "scan"]
    assert gated_states(eqn) == {1}


ADDED: dict[str, Step] = {
    "a residual step": lambda h, x: h + 0.1 * jnp.tanh(h @ W + x),
    "an integrator of parts": lambda h, x: jnp.stack([h[:, i] + 0.1 * h[:, 3 - i] for i in range(4)], axis=1),
    "truncated": lambda h, x: jnp.where(x > 0, lax.stop_gradient(h), h) + 0.1 * x,
    "an angle wrapped round": lambda h, x: (h + 0.1 * x) % 6.28,
    "bounded": lambda h, x: jnp.clip(h + 0.1 * x, -1.0, 1.0),
    "inside jit": lambda h, x: jax.jit(lambda h: h + 0.1 * x)(h),
}
MADE_ANEW: dict[str, Step] = {
    "tanh": PLAIN["tanh"],
    "gru": gru,
    "a linear map": lambda h, x: h @ W + x,
    "an iterated map": lambda h, x: 3.9 * h * (1 - h),
}


@pytest.mark.parametrize("name", ADDED)
def test_a_step_that_adds_to_the_state_is_seen(name: str) -> None:
    assert added_states(loop_of(ADDED[name])) == {0}


@pytest.mark.parametrize("name", MADE_ANEW)
def test_a_state_that_is_made_anew_is_not_added_to(name: str) -> None:
    assert not added_states(loop_of(MADE_ANEW[name]))
