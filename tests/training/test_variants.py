"""A program with some equations exchanged trains as the one that was meant."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradscope.records import Finding, Report, Severity, Structure
from gradscope.runs.check import check_loss

RULE = "reshape-for-transpose"
N, T, D, HEADS = 64, 6, 8, 2
RNG = np.random.default_rng(0)
PHASE = RNG.uniform(0, 2 * np.pi, N)
SERIES = (np.sin(np.arange(T)[:, None] / 2 + PHASE) + 0.05 * RNG.normal(size=(T, N))).astype(np.float32)
NEXT = np.sin(T / 2 + PHASE).astype(np.float32)
PARAMS = {
    "w": (RNG.normal(size=(T, 16)) * (2 / T) ** 0.5).astype(np.float32),
    "b": np.zeros(16, np.float32),
    "v": (RNG.normal(size=(16, 1)) / 4).astype(np.float32),
}


def perceptron(p: Any, rows: Any) -> Any:
    return (jax.nn.relu(rows @ p["w"] + p["b"]) @ p["v"])[:, 0]


def forecast(p: Any, batch: Any, turn: Callable[[Any], Any]) -> Any:
    series, after = batch
    return jnp.mean((perceptron(p, turn(series)) - after) ** 2)


reshaped = partial(forecast, turn=lambda s: s.reshape(s.shape[1], s.shape[0]))
reshaped_in_jit = partial(forecast, turn=jax.jit(lambda s: s.reshape(s.shape[1], s.shape[0])))
exchanged = partial(forecast, turn=jnp.transpose)


def checked(loss: Any, batch: Any = (SERIES, NEXT), params: Any = PARAMS) -> Report:
    return check_loss(loss, params, batch, optimizer=optax.adam(3e-3))


def structure(report: Report) -> Structure:
    assert report.flow is not None
    return report.flow.structure


def of_rule(report: Report) -> list[Finding]:
    return [finding for finding in report.findings if finding.rule == RULE]


@pytest.fixture(scope="module")
def meant() -> Report:
    return checked(exchanged)


@pytest.mark.parametrize("loss", [reshaped, reshaped_in_jit])
def test_a_reshape_for_a_transpose_is_an_error_where_the_transpose_trains(loss: Any, meant: Report) -> None:
    report = checked(loss)
    (finding,) = of_rule(report)
    assert finding.severity is Severity.ERROR
    tried = structure(report).transposed
    assert tried is not None
    assert tried.steps == 100
    assert meant.training is not None
    np.testing.assert_allclose(tried.start, meant.training.start, rtol=1e-5)
    assert tried.end < tried.end_without / 2
    assert structure(meant) == Structure()


def test_the_loss_may_have_any_scale() -> None:
    for scale in (1e-5, 1e5):
        (finding,) = of_rule(checked(lambda p, b, s=scale: s * reshaped(p, b)))
        assert finding.severity is Severity.ERROR


def windows(p: Any, batch: Any) -> Any:
    """One long series of each of a few sensors, cut into windows: as many as a sensor has readings."""
    series, after = batch
    return jnp.mean((perceptron(p, series.reshape(N, T)) - after) ** 2)


def test_windows_that_look_like_it_are_a_note() -> None:
    """The windows hold what the targets are made of, and the transpose does not."""
    long = SERIES.T.reshape(T, N)
    (finding,) = of_rule(checked(windows, (long, NEXT)))
    assert finding.severity is Severity.NOTE
    tried = structure(checked(windows, (long, NEXT))).transposed
    assert tried is not None
    assert not tried.better
