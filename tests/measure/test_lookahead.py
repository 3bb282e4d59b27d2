"""Gradients of exactly zero: by construction, or for good."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradscope.pipeline import check_loss
from tests.trace import oracle
from tests.trace.oracle import (
    BATCH,
    TWO,
    agreeing,
    apply,
    error,
    normal,
)

ZEROS: dict[str, Any] = {
    "head": lambda p, b: error(apply(p["second"], jnp.tanh(apply(p["first"], b[0]))), b[1]),
    "gain on a branch": lambda p, b: error(b[0] + p["second"]["b"] * jnp.tanh(apply(p["first"], b[0])), b[1]),
    "gain below a zero head": lambda p, b: error(
        (b[0] + p["second"]["b"] * apply(p["first"], b[0])) @ p["second"]["w"], b[1]
    ),
}


@pytest.mark.parametrize("zeroed", ZEROS.values(), ids=ZEROS)
def test_what_lies_below_a_zero_is_alive_later(zeroed: Any) -> None:
    params = {"first": TWO["first"], "second": jax.tree.map(np.zeros_like, TWO["second"])}
    found = agreeing(zeroed, params, BATCH)
    assert oracle.layer(found, "first").gradient_norm == 0
    assert oracle.layer(found, "first").gradient_zero_share == 1
    assert oracle.parameter(found, "first.w").alive_later is True
    assert oracle.parameter(found, "first.b").alive_later is True
    assert not [f for f in check_loss(zeroed, params, BATCH).findings if f.rule == "zero-gradient"]


def test_dead_units_stay_dead() -> None:
    def dead(p: Any, b: Any) -> Any:
        return error(apply(p["second"], jax.nn.relu(apply(p["first"], b[0]) - 100)), b[1])

    found = agreeing(dead, TWO, BATCH)
    assert oracle.parameter(found, "first.w").alive_later is False
    assert oracle.parameter(found, "second.b").alive_later is None
    assert [f.layer for f in check_loss(dead, TWO, BATCH).findings] == ["first"]


def test_the_share_of_zero_gradients_counts_elements() -> None:
    table = {"table": normal(1, 10, 4), "head": TWO["first"]}
    ids = np.array([1, 1, 2, 3, 3, 3, 1, 2])

    def embedded(p: Any, b: Any) -> Any:
        return error(apply(p["head"], p["table"][b[0]]), b[1])

    found = agreeing(embedded, table, (ids, BATCH[1]))
    assert oracle.layer(found, "table").gradient_zero_share == pytest.approx(0.7)
