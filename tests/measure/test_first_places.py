"""Attention that sees no later place: what is said where the loss reads the first place alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradscope.records import Finding, Report
from gradscope.runs.check import check_loss

B, T, D = 16, 6, 8
RNG = np.random.default_rng(0)
X = RNG.normal(size=(B, T, D)).astype(np.float32)
Y = X.mean((1, 2))
PARAMS = {name: (RNG.normal(size=(D, D)) / 3).astype(np.float32) for name in ("query", "key", "value")}
PARAMS = {"first": PARAMS, "second": {name: w[::-1] for name, w in PARAMS.items()}, "head": np.ones(D) / D}


def attention(p: Any, x: Any, causal: bool = True) -> Any:
    query, key, value = (x @ p[name] for name in ("query", "key", "value"))
    scores = jnp.einsum("bqd,bkd->bqk", query, key) / D**0.5
    if causal:
        scores = jnp.where(jnp.tril(jnp.ones((T, T), bool)), scores, -1e9)
    return x + jnp.einsum("bqk,bkd->bqd", jax.nn.softmax(scores), value)


def report(read: Callable[[Any], Any], causal: bool = True) -> Report:
    def loss(p: Any, batch: Any) -> Any:
        x = attention(p["second"], jnp.tanh(attention(p["first"], batch["x"], causal)), causal)
        return jnp.mean((read(x) @ p["head"] - batch["y"]) ** 2)

    return check_loss(loss, PARAMS, {"x": X, "y": Y}, optimizer=optax.adam(1e-2))


def told(found: Report) -> list[Finding]:
    return [each for each in found.findings if each.rule == "zero-gradient"]


def test_the_first_place_alone_is_one_error_with_the_line_that_takes_it() -> None:
    found = report(lambda x: x[:, 0])
    (finding,) = told(found)
    assert finding.severity.value == "error"
    assert f"attention over {T} places that sees no later one" in finding.message
    assert "A single place is taken at" in finding.message
    for name in ("first.query", "first.key", "second.query", "second.key"):
        assert f"`{name}`" in finding.message
    assert all(each.first_alone for each in found.flow.attentions)


def test_a_mask_of_the_first_place_is_a_warning_for_the_data_may_have_it() -> None:
    mask = (np.arange(T) == 0)[:, None]
    (finding,) = told(report(lambda x: (x * mask).sum(1)))
    assert finding.severity.value == "warning"
    assert "A single place" not in finding.message


@pytest.mark.parametrize(
    ("read", "causal"),
    [(lambda x: x[:, -1], True), (lambda x: x.mean(1), True), (lambda x: x[:, 0], False)],
    ids=["last", "mean", "a first place that sees all"],
)
def test_places_that_have_seen_others_are_quiet(read: Callable[[Any], Any], causal: bool) -> None:
    found = report(read, causal)
    assert told(found) == []
    assert not any(each.first_alone for each in found.flow.attentions)
