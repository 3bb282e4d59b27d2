"""Layers stacked in a scan: a row each, wrapped or not, and with a loop over time inside or around."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests.trace import oracle
from tests.trace.oracle import BATCH, SEQUENCE, STACK, STEPS, agreeing, apply, block, error, step


def test_a_reversed_loop_over_layers_runs_the_last_layer_first() -> None:
    def loss(p: Any, b: Any) -> Any:
        return error(apply(p["head"], lax.scan(block, b[0], p["blocks"], reverse=True)[0]), b[1])

    def slowly(p: Any, b: Any, bump: Any) -> Any:
        h = b[0]
        for i in reversed(range(3)):
            h = jnp.tanh(bump(f"{i}", h @ p["blocks"]["w"][i] + p["blocks"]["b"][i]))
        return error(apply(p["head"], h), b[1])

    found, slow = agreeing(loss, STACK, BATCH), oracle.deltas(slowly, STACK, BATCH)
    for i in range(3):
        delta = oracle.layer(found, f"blocks[{i}]").delta_norm
        assert delta == pytest.approx(oracle.norm(slow[f"{i}"]), rel=1e-5)


def stacked(p: Any, b: Any) -> Any:
    return error(apply(p["head"], lax.scan(block, b[0], p["blocks"])[0]), b[1])


def stacked_slowly(p: Any, b: Any, bump: Any) -> Any:
    h = b[0]
    for i in range(3):
        h = jnp.tanh(bump(f"{i}", h @ p["blocks"]["w"][i] + p["blocks"]["b"][i]))
    return error(apply(p["head"], h), b[1])


def test_layers_stacked_in_a_scan_are_a_row_each() -> None:
    found, slow = agreeing(stacked, STACK, BATCH), oracle.deltas(stacked_slowly, STACK, BATCH)
    assert oracle.names(found) == ["blocks[0]", "blocks[1]", "blocks[2]", "head"]
    assert [layer.depth for layer in found.layers] == [1, 2, 3, 4]
    assert found.recurrences == ()
    _, gradients = oracle.plain(stacked, STACK, BATCH)
    for i, layer in enumerate(found.layers[:3]):
        assert layer.size == 20
        assert layer.delta_norm == pytest.approx(oracle.norm(slow[f"{i}"]), rel=1e-5)
        expected = np.hypot(oracle.norm(gradients[0][i]), oracle.norm(gradients[1][i]))
        assert layer.gradient_norm == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "wrap",
    [
        jax.checkpoint,
        lambda f: jax.checkpoint(f, policy=jax.checkpoint_policies.nothing_saveable, prevent_cse=False),
        jax.jit,
    ],
    ids=["remat", "nothing saveable", "jit"],
)
def test_wrapping_the_block_of_a_stack_changes_no_row(wrap: Any) -> None:
    def loss(p: Any, b: Any) -> Any:
        return error(apply(p["head"], lax.scan(wrap(block), b[0], p["blocks"])[0]), b[1])

    found, slow = agreeing(loss, STACK, BATCH), oracle.deltas(stacked_slowly, STACK, BATCH)
    assert oracle.names(found) == ["blocks[0]", "blocks[1]", "blocks[2]", "head"]
    deltas = [layer.delta_norm for layer in found.layers[:3]]
    np.testing.assert_allclose(deltas, [oracle.norm(slow[f"{i}"]) for i in range(3)], rtol=1e-5)


CELLS = {"cells": {name: np.stack([leaf, leaf * 0.9, leaf * 0.8]) for name, leaf in oracle.CELL.items()}}


def test_a_recurrence_inside_a_stack_of_layers_has_rows_and_steps() -> None:
    def layer(s: Any, cell: Any) -> Any:
        return lax.scan(lambda h, x: (step(cell, h, x),) * 2, jnp.zeros((3, 4)), s)[1], None

    def loss(p: Any, b: Any) -> Any:
        return error(lax.scan(layer, b[0], p["cells"])[0][-1], b[1])

    def slowly(p: Any, b: Any, bump: Any) -> Any:
        s = list(b[0])
        for i in range(3):
            cell, h = jax.tree.map(lambda leaf, i=i: leaf[i], p["cells"]), jnp.zeros((3, 4))
            for t in range(STEPS):
                s[t] = h = step(cell, bump(f"{i},{t}", h), s[t])
        return error(s[-1], b[1])

    found, slow = agreeing(loss, CELLS, SEQUENCE), oracle.deltas(slowly, CELLS, SEQUENCE)
    assert oracle.names(found) == ["cells[0]", "cells[1]", "cells[2]"]
    expected = [np.hypot.reduce([oracle.norm(slow[f"{i},{t}"]) for i in range(3)]) for t in range(STEPS)]
    np.testing.assert_allclose(oracle.recurrence(found).delta_norms, expected, rtol=1e-5)


def test_a_stack_of_layers_inside_a_recurrence_has_rows_and_steps() -> None:
    def loss(p: Any, b: Any) -> Any:
        def at_time(h: Any, x: Any) -> Any:
            return lax.scan(lambda h, cell: (step(cell, h, x), None), h, p["cells"])[0], None

        return error(lax.scan(at_time, jnp.zeros((3, 4)), b[0])[0], b[1])

    found = agreeing(loss, CELLS, SEQUENCE)
    assert oracle.names(found) == ["cells[0]", "cells[1]", "cells[2]"]
    assert oracle.recurrence(found).length == STEPS


def test_a_recurrence_that_scans_over_rows_of_its_own_keeps_its_steps() -> None:
    params = {"cell": oracle.CELL, "position": oracle.normal(1, STEPS, 4), "start": oracle.normal(2, 4)}

    def loss(p: Any, b: Any) -> Any:
        start = jnp.broadcast_to(p["start"], (3, 4))
        inputs = (b[0], p["position"])
        return error(lax.scan(lambda h, x: (step(p["cell"], h, x[0] + x[1]), None), start, inputs)[0], b[1])

    def slowly(p: Any, b: Any, bump: Any) -> Any:
        h = jnp.broadcast_to(p["start"], (3, 4))
        for t in range(STEPS):
            h = step(p["cell"], bump(f"{t}", h), b[0][t] + p["position"][t])
        return error(h, b[1])

    found, slow = agreeing(loss, params, SEQUENCE), oracle.deltas(slowly, params, SEQUENCE)
    expected = [oracle.norm(slow[f"{t}"]) for t in range(STEPS)]
    np.testing.assert_allclose(oracle.recurrence(found).delta_norms, expected, rtol=1e-5)
    assert "cell" in oracle.recurrence(found).layers
