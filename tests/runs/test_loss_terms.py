"""`check` of a loss that is a sum, one term of which trains nothing."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import Array

import gradscope
from gradscope.records import Severity

points = jnp.linspace(0.1, 0.9, 7)
keys = jax.random.split(jax.random.key(1), 2)
params = {
    "hidden": {"w": jax.random.normal(keys[0], (1, 8)), "b": jnp.zeros(8)},
    "out": {"w": jax.random.normal(keys[1], (8, 1)), "b": jnp.zeros(1)},
}


def beam(act: Any, *, edges: bool) -> Any:
    def u(p: Any, x: Array) -> Array:
        h = act(x[None] @ p["hidden"]["w"] + p["hidden"]["b"])
        return (h @ p["out"]["w"] + p["out"]["b"])[0]

    def loss(p: Any, x: Array) -> Array:
        residual = jax.vmap(jax.grad(jax.grad(u, 1), 1), (None, 0))(p, x) + jnp.sin(x)
        bending = jnp.mean(residual**2)
        return bending + u(p, jnp.array(1.0)) ** 2 if edges else bending

    return loss


@pytest.mark.parametrize("edges", [True, False])
def test_an_equation_that_relus_cannot_bend_to_is_one_finding_at_its_line(edges: bool) -> None:
    report = gradscope.check(beam(jax.nn.relu, edges=edges), params, points)
    (finding,) = report.findings
    assert (finding.rule, finding.severity) == ("dead-loss-term", Severity.ERROR)
    assert finding.source is not None
    assert finding.source.text.startswith("bending = ")
    assert "because `relu`" in finding.message
    assert gradscope.check(beam(jnp.tanh, edges=True), params, points).findings == ()
