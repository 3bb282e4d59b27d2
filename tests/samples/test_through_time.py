"""Loops that are meant to forget, and recurrent networks that should not."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradscope.records import Severity
from gradscope.runs.check import check_loss

INPUTS = np.ones((100, 4), np.float32)


def through_time(loss: Any, params: Any) -> list[Severity]:
    findings = check_loss(loss, params, INPUTS).findings
    return [found.severity for found in findings if found.rule == "vanishing-through-time"]


def neuron(p: Any, currents: Any) -> Any:
    """A leaky membrane, integrated by Euler's method."""

    def step(v: Any, i: Any) -> Any:
        return v + 0.5 * (p["leak"] * (p["rest"] - v) + i), None

    return jnp.mean((jax.lax.scan(step, jnp.full(4, -65.0), currents)[0] + 60.0) ** 2)


def relaxation(p: Any, forces: Any) -> Any:
    """A damped fixed-point iteration."""
    return jnp.mean(jax.lax.scan(lambda x, f: (0.7 * x + p["gain"] * f, None), jnp.zeros(4), forces)[0] ** 2)


def recurrent(p: Any, inputs: Any) -> Any:
    def step(h: Any, x: Any) -> Any:
        return jnp.tanh(h @ p["w"] + x), None

    return jnp.mean(jax.lax.scan(step, jnp.zeros(4), inputs)[0] ** 2)


@pytest.mark.parametrize(
    ("loss", "params"),
    [
        (neuron, {"leak": np.full(4, 0.3, np.float32), "rest": np.full(4, -70.0, np.float32)}),
        (relaxation, {"gain": np.full(4, 0.5, np.float32)}),
    ],
    ids=["neuron", "relaxation"],
)
def test_a_state_that_leaks_is_a_note(loss: Any, params: Any) -> None:
    assert set(through_time(loss, params)) <= {Severity.NOTE}


def test_a_recurrent_network_that_forgets_is_an_error() -> None:
    assert through_time(recurrent, {"w": 0.1 * np.eye(4, dtype=np.float32)}) == [Severity.ERROR]
