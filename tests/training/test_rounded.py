"""Casts before any parameter: what they make equal, against NumPy, and casts that hardly matter."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest

from gradscope.records import Report, RoundedInput
from gradscope.runs.check import check_loss

RNG = np.random.default_rng(0)
HOURS = RNG.permutation(8000)[:256].astype(np.float32)
TARGET = np.sin(2 * np.pi * HOURS / 24).astype(np.float32)[:, None]
PARAMS = {
    "w": RNG.normal(size=(2, 16)).astype(np.float32),
    "v": (RNG.normal(size=(16, 1)) / 4).astype(np.float32),
}
OPTIMIZER = optax.adam(1e-2)
LOW = jnp.bfloat16


TURN = float(np.asarray(2 * np.pi, ml_dtypes.bfloat16))
"""As the program holds it."""


def circle(angles: Any) -> Any:
    return jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1)


def network(params: Any, x: Any) -> Any:
    w, v = params["w"].astype(x.dtype), params["v"].astype(x.dtype)
    return (jnp.tanh(x @ w) @ v).astype(jnp.float32)


def cast_first(params: Any, batch: Any) -> Any:
    angles = 2 * jnp.pi * batch["hours"].astype(LOW) / 24
    return jnp.mean((network(params, circle(angles)) - batch["y"]) ** 2)


def cast_last(params: Any, batch: Any) -> Any:
    angles = 2 * jnp.pi * batch["hours"] / 24
    return jnp.mean((network(params, circle(angles).astype(LOW)) - batch["y"]) ** 2)


BATCH = {"hours": HOURS, "y": TARGET}


def told(loss: Any, batch: Any = BATCH, params: Any = PARAMS, **fields: Any) -> tuple[Report, Any]:
    report = check_loss(loss, params, batch, optimizer=OPTIMIZER, **fields)
    assert report.training is not None, report.skipped
    assert not [each for each in report.skipped if each.what == "rounded-input"], report.skipped
    return report, report.training.rounded


def severities(report: Report) -> list[str]:
    return [each.severity.value for each in report.findings if each.rule == "rounded-input"]


@pytest.fixture(scope="module")
def sick() -> tuple[Report, tuple[RoundedInput, ...]]:
    return told(cast_first)


def test_hours_that_are_cast_before_their_sine_are_an_error_with_what_is_left(sick: Any) -> None:
    report, (found,) = sick
    assert severities(report) == ["error"]
    assert (found.name, found.dtype, found.before) == ("hours", "bfloat16", 256)
    assert found.after == np.unique(HOURS.astype(ml_dtypes.bfloat16)).size
    assert 'batch["hours"].astype(LOW)' in found.source.text


def test_the_error_is_that_of_numpy_in_float64(sick: Any) -> None:
    def features(hours: Any) -> Any:
        return np.stack([np.sin(TURN * hours / 24), np.cos(TURN * hours / 24)], -1)

    fine, rough = (
        features(HOURS.astype(np.float64)),
        np.asarray(circle(2 * jnp.pi * jnp.asarray(HOURS).astype(LOW) / 24), np.float64),
    )
    error = np.sqrt(np.mean((rough - fine) ** 2, 0)) / fine.std(0)
    assert sick[1][0].error == pytest.approx(error.max(), rel=1e-3)


def test_the_trial_is_the_training_with_the_cast_behind_the_sine(sick: Any) -> None:
    trial = sick[1][0].trial

    def after(loss: Any) -> float:
        @jax.jit
        def step(params: Any, state: Any) -> Any:
            updates, state = OPTIMIZER.update(jax.grad(loss)(params, BATCH), state, params)
            return optax.apply_updates(params, updates), state

        params, state = PARAMS, OPTIMIZER.init(PARAMS)
        for _ in range(trial.steps):
            params, state = step(params, state)
        return float(loss(params, BATCH))

    def unrounded(params: Any, batch: Any) -> Any:
        x = circle(TURN * batch["hours"] / 24).astype(LOW)
        return jnp.mean((network(params, x) - batch["y"]) ** 2)

    assert trial.end == pytest.approx(after(cast_first), rel=0.05)
    assert trial.end_exact == pytest.approx(after(unrounded), rel=0.2)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_scale_of_the_loss_changes_nothing(scale: float) -> None:
    assert severities(told(lambda p, b: scale * cast_first(p, b))[0]) == ["error"]


def test_with_few_steps_it_is_a_warning() -> None:
    assert severities(told(cast_first, steps=3)[0]) == ["warning"]


def of_columns(params: Any, batch: Any) -> Any:
    return jnp.mean((network(params, batch["x"].astype(LOW)) - batch["y"]) ** 2)


def pixels(params: Any, batch: Any) -> Any:
    return jnp.mean((network(params, batch["pixels"].astype(LOW) / 255) - batch["y"]) ** 2)


def positions(params: Any, batch: Any) -> Any:
    rate = 10000.0 ** -jnp.linspace(0, 1, 8)
    angles = jnp.arange(256)[:, None] * rate
    table = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], -1).astype(LOW)
    return jnp.mean((table @ params["v"].astype(LOW) - batch["y"]) ** 2).astype(jnp.float32)


def in_half(params: Any, batch: Any) -> Any:
    return jnp.mean((network(params, batch["x"].astype(jnp.float16)) - batch["y"]) ** 2)


def embedded(params: Any, batch: Any) -> Any:
    return jnp.mean((params["v"][batch["id"]].astype(LOW) - batch["y"].astype(LOW)) ** 2).astype(jnp.float32)


MORE = BATCH | {
    "x": RNG.normal(size=(256, 2)).astype(np.float32),
    "pixels": RNG.integers(0, 256, (256, 2)).astype(np.uint8),
    "id": RNG.integers(0, 16, 256),
}


@pytest.mark.parametrize("loss", [cast_last, of_columns, pixels, positions, in_half, embedded])
def test_a_cast_that_leaves_what_the_network_needs_is_quiet(loss: Any) -> None:
    assert told(loss, MORE, steps=3)[1] == ()


def test_a_difference_of_large_numbers_and_an_index_are_seen() -> None:
    def centered(params: Any, batch: Any) -> Any:
        x = batch["price"].astype(LOW) - 10000
        return jnp.mean((network(params, x) - batch["y"]) ** 2)

    def indexed(params: Any, batch: Any) -> Any:
        rows = params["table"][batch["hours"].astype(LOW).astype(jnp.int32)]
        return jnp.mean((rows - batch["y"]) ** 2)

    prices = BATCH | {"price": (10000 + RNG.normal(size=(256, 2))).astype(np.float32)}
    ((found,), (rows,)) = (
        told(centered, prices, steps=3)[1],
        told(indexed, BATCH, {"table": np.zeros((8000, 1), np.float32)}, steps=3)[1],
    )
    assert (found.name, found.error > 0.5) == ("price", True)
    assert rows.error == pytest.approx(np.mean(HOURS.astype(ml_dtypes.bfloat16).astype(int) != HOURS))
