"""The largest batch below a limit, and whether halves of a batch add up to the whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradscope
from gradscope.footprint.limits import rows_of, with_rows
from gradscope.records import MemoryLimit

WIDTH, ROWS = 32, 64
PARAMS = {"w": np.linspace(-1, 1, WIDTH * WIDTH, dtype=np.float32).reshape(WIDTH, WIDTH)}
BATCH = np.linspace(-1, 1, ROWS * WIDTH, dtype=np.float32).reshape(ROWS, WIDTH)


def mean(params: Any, x: Any) -> Any:
    return jnp.mean(jnp.sin(jnp.sin(x @ params["w"]) @ params["w"]))


def total(params: Any, x: Any) -> Any:
    return jnp.sum(jnp.sin(jnp.sin(x @ params["w"]) @ params["w"]))


def normalized(params: Any, x: Any) -> Any:
    h = x @ params["w"]
    return jnp.mean(jnp.sin((h - h.mean(0)) / (h.std(0) + 1.0)))


def limited(loss: Callable[[Any, Any], Any], limit: int) -> tuple[MemoryLimit, gradscope.Report]:
    report = gradscope.memory(loss, PARAMS, BATCH, limit=limit, checkpoints=False)
    assert report.memory is not None
    assert report.memory.limit is not None
    return report.memory.limit, report


def test_the_rows_that_all_arrays_share() -> None:
    assert rows_of((BATCH, np.zeros(ROWS))) == ROWS
    assert rows_of((BATCH, np.zeros(3))) is None
    assert rows_of(None) is None


def test_a_batch_of_another_size_takes_no_memory() -> None:
    x, name = with_rows((BATCH, "name"), 10**9)
    assert x.shape == (10**9, WIDTH)
    assert x.strides[0] == 0
    assert name == "name"


def test_the_largest_batch_fits_and_is_near_the_limit() -> None:
    found, report = limited(mean, 300_000)
    assert found.rows is not None
    assert dict(found.measured)[found.rows] <= 300_000
    # By hand: the batch, and three arrays of its size that are there at once.
    assert found.per_row == pytest.approx(4 * WIDTH * 4, rel=0.3)
    assert dict(found.measured)[found.rows] > 0.95 * 300_000
    assert report.findings == ()


@pytest.mark.parametrize(("loss", "reduction"), [(mean, "mean"), (total, "sum"), (normalized, "neither")])
def test_halves_are_held_against_the_whole(loss: Callable[[Any, Any], Any], reduction: str) -> None:
    found, report = limited(loss, 36_000)
    assert [finding.rule for finding in report.findings] == ["memory-over-limit"]
    assert found.accumulation is not None
    assert found.rows is not None
    assert found.accumulation.rows <= found.rows
    assert found.accumulation.rows * found.accumulation.parts == ROWS
    assert found.accumulation.reduction == reduction


def test_a_limit_below_the_parameters_fits_no_batch() -> None:
    found, _ = limited(mean, 5_000)
    assert found.rows == 0


def test_a_loss_of_one_batch_size_is_left_out_with_the_reason() -> None:
    def fixed(params: Any, x: Any) -> Any:
        return jnp.mean(x.reshape(ROWS, WIDTH) @ params["w"])

    report = gradscope.memory(fixed, PARAMS, BATCH, limit=10**6, checkpoints=False)
    (gap,) = [entry for entry in report.skipped if entry.what == "the largest batch"]
    assert "another number of rows" in gap.reason


def test_the_state_of_the_optimizer_is_by_its_shapes() -> None:
    import optax

    report = gradscope.memory(mean, PARAMS, BATCH, optimizer=optax.adam(1e-3), checkpoints=False)
    assert report.memory is not None
    count = 4
    assert report.memory.optimizer_state == 2 * PARAMS["w"].nbytes + count
    assert report.memory.compiled is not None
    assert report.memory.step == report.memory.compiled.peak + report.memory.optimizer_state


def test_a_key_in_the_batch_has_its_rows_kept() -> None:
    key = jax.random.key(0)
    assert with_rows((BATCH, key), 3)[1] is key
