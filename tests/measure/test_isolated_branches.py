"""A branch that holds at the parameters alone is found where its derivative is wrong, and only there."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gradscope.records import Severity
from gradscope.runs.check import check_loss
from tests.nonfinite.finding import Loss, marked_line

X = np.array([0.2, 0.5, 0.55, 0.7, 0.9], np.float32)
ONE = {"a": jnp.ones(()), "w": jnp.ones((5,))}


def beta(p: Any, x: Any) -> Any:
    a = p["a"]
    log_p = jnp.where(a == 1.0, 0.0, (a - 1) * jnp.log(x))  # here
    return -jnp.mean(log_p + jnp.log(a))


def masked(p: Any, x: Any) -> Any:
    general = p["w"] != 1  # here
    return jnp.mean(general * (p["w"] ** 3 - 1) * x + x * p["a"])


def in_scan(p: Any, x: Any) -> Any:
    def step(total: Any, row: Any) -> Any:
        a = p["a"] * 1.0
        return total + lax.select(a == 1.0, row, row * a**3), None  # here

    return jax.jit(lambda: lax.scan(step, 0.0, x)[0])() + p["a"]


@pytest.mark.parametrize("loss", [beta, masked, in_scan])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_it_is_a_warning_at_the_line_of_the_test(loss: Loss, scale: float) -> None:
    (finding,) = [
        f for f in check_loss(lambda p, x: scale * loss(p, x), ONE, X).findings if f.rule == "isolated-branch"
    ]
    assert (finding.rule, finding.severity) == ("isolated-branch", Severity.WARNING)
    assert finding.source is not None
    assert finding.source.line == marked_line(loss)


def same_derivative(p: Any, x: Any) -> Any:
    return jnp.mean(jnp.where(p["a"] == 1.0, p["a"] * x, p["a"] * x))


def dead_units(p: Any, x: Any) -> Any:
    h = jax.nn.relu(p["w"] * (x - 0.6))
    return jnp.mean(jnp.where(h == 0, 0.0, h**1.5 + 0 * p["a"]))


def padding(p: Any, x: Any) -> Any:
    return jnp.mean(jnp.where(x == 0.2, 0.0, p["w"] * x) * p["a"])


def labels(p: Any, x: Any) -> Any:
    return jnp.mean(jnp.where(jnp.arange(5) == 2, p["w"] * p["a"], 0.0))


def guarded_root(p: Any, x: Any) -> Any:
    square = jnp.sum((p["w"] - 1) ** 2)
    return jnp.where(square == 0, 0.0, jnp.sqrt(jnp.where(square == 0, 1.0, square))) + p["a"]


def kink(p: Any, x: Any) -> Any:
    gap = p["w"] - 1
    return jnp.mean(jnp.where(gap == 0, 0.0, jnp.maximum(gap, 0.0)) * x + p["a"])


def library(p: Any, x: Any) -> Any:
    return jnp.mean(jnp.sinc(p["w"] - 1) * p["a"] * x)


def best(p: Any, x: Any) -> Any:
    """The largest element is equal to itself, wherever it is."""
    scores = p["w"] * x
    return jnp.sum(jnp.where(scores == scores.max(), scores, 0.0)) * p["a"]


@pytest.mark.parametrize(
    "loss", [same_derivative, dead_units, padding, labels, guarded_root, kink, library, best]
)
def test_what_looks_like_it_is_healthy(loss: Loss) -> None:
    assert [f for f in check_loss(loss, ONE, X).findings if f.rule == "isolated-branch"] == []


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_where_rounding_hides_the_slopes_nothing_is_claimed_wrongly(dtype: Any) -> None:
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), ONE)
    found = check_loss(same_derivative, params, X.astype(dtype)).findings
    assert [f for f in found if f.rule == "isolated-branch"] == []
