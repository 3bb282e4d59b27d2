"""`gradscope.monitor`: healthy and sick trainings of a user's own loss."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import Array

import gradscope
from gradscope.records import Ending, Report


def mlp(scale: float = 2.0, sizes: tuple[int, ...] = (8, 32, 32, 2)) -> Any:
    draw = np.random.default_rng(0)
    return [
        {
            "w": (draw.normal(size=(a, b)) * (scale / a) ** 0.5).astype(np.float32),
            "b": np.zeros(b, np.float32),
        }
        for a, b in itertools.pairwise(sizes)
    ]


def loss_fn(params: Any, batch: Any) -> Array:
    x, y = batch
    for layer in params[:-1]:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    return jnp.mean((x @ params[-1]["w"] + params[-1]["b"] - y) ** 2)


def rows(count: int, seed: int, noise: float = 0.0) -> Any:
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(count, 8)).astype(np.float32)
    y = np.stack([np.sin(x[:, 0]) + x[:, 1] * x[:, 2], np.cos(x[:, 3])], 1) + noise * draw.normal(
        size=(count, 2)
    )
    return x, y.astype(np.float32)


def rules_of(report: Report) -> list[str]:
    return [finding.rule for finding in report.findings if finding.severity.value != "note"]


def test_a_healthy_training_gets_no_finding() -> None:
    batches = [rows(64, seed) for seed in range(20)]
    report = gradscope.monitor(
        loss_fn, mlp(), batches=batches, optimizer=optax.adam(1e-3), validation_batch=rows(32, 99), steps=120
    )
    assert rules_of(report) == []
    assert report.history is not None
    assert (report.history.ending, report.history.batches_per_pass) == (Ending.COMPLETE, 20)
    assert len(report.history.validation) == 21
    assert "training not tried" not in report.unexamined
    assert gradscope.load_report  # the name is public beside it


def test_learning_by_heart_is_overfitting() -> None:
    report = gradscope.monitor(
        loss_fn, mlp(0.3, (8, 128, 128, 2)), rows(16, 0, 1.0), optimizer=optax.adam(3e-3),
        validation_batch=rows(128, 9, 1.0), steps=200,
    )  # fmt: skip
    (finding,) = [finding for finding in report.findings if finding.rule == "overfitting"]
    assert 0 < finding.evidence["step"] < 100


def test_what_is_found_after_the_steps_says_so() -> None:
    """One step that is far too large leaves every unit of a ReLU layer negative for every row."""

    def two_layers(params: Any, batch: Any) -> Array:
        x, y = batch
        hidden = jax.nn.relu(x @ params["first"]["w"] + params["first"]["b"])
        return jnp.mean((hidden @ params["head"]["w"] + params["head"]["b"] - y) ** 2)

    def kicked(count: Any) -> Any:
        return jnp.where(count == 30, 100.0, 1e-3)

    first, head = mlp(sizes=(8, 32, 2))
    params = {"first": first, "head": {**head, "w": np.abs(head["w"])}}
    x, y = rows(64, 0)
    optimizer = optax.chain(optax.clip(0.1), optax.sgd(kicked))
    report = gradscope.monitor(two_layers, params, (np.abs(x), y), optimizer=optimizer, steps=100)
    found = {finding.rule: finding for finding in report.findings}
    assert found["zero-gradient"].layer == "first"
    assert found["zero-gradient"].message.startswith("After 100 steps of your optimizer: ")
    assert report.history is not None
    gradient = report.history.layers[0].gradient_rms
    assert gradient is not None
    assert [place for place, value in enumerate(gradient.high) if value == 0] == list(range(31, 100))


def test_without_an_optimizer_adam_is_taken_and_said() -> None:
    report = gradscope.monitor(loss_fn, mlp(), rows(16, 0), steps=20)
    assert report.history is not None
    assert (report.history.optimizer, report.history.own) == ("adam(0.001)", False)
    assert "no optimizer given" in report.unexamined


def test_the_users_params_are_left_as_they_are() -> None:
    params = jax.tree.map(jnp.asarray, mlp())
    before = jax.tree.map(np.array, params)
    gradscope.monitor(loss_fn, params, rows(16, 0), optimizer=optax.sgd(0.1), steps=3)
    jax.tree.map(np.testing.assert_array_equal, params, before)


@pytest.mark.parametrize("steps", [1, 2])
def test_very_short_runs(steps: int) -> None:
    report = gradscope.monitor(loss_fn, mlp(), rows(16, 0), optimizer=optax.sgd(0.1), steps=steps)
    assert report.history is not None
    assert report.history.steps == steps
    assert rules_of(report) == []


def test_an_optimizer_that_goes_uphill_is_told_as_that() -> None:
    """`optax.masked` hands the gradient of what it leaves out on as the update."""
    optimizer = optax.masked(optax.sgd(1e-2), [{"w": True, "b": True}, {"w": False, "b": True}, False])
    report = gradscope.monitor(loss_fn, mlp(), rows(64, 0), optimizer=optimizer, steps=40)
    assert rules_of(report) == ["ascending-update"]


def test_an_optimizer_that_never_moves_anything_is_told_as_that() -> None:
    report = gradscope.monitor(loss_fn, mlp(), rows(64, 0), optimizer=optax.set_to_zero(), steps=40)
    assert rules_of(report) == ["not-updated"]


def test_the_steps_on_trial_take_no_batch_away() -> None:
    passed = iter([rows(16, seed) for seed in range(12)])
    report = gradscope.monitor(loss_fn, mlp(), batches=passed, optimizer=optax.sgd(1e-2), steps=40)
    assert report.history is not None
    assert (report.history.steps, report.history.ending) == (12, Ending.DATA_ENDED)


def test_units_that_die_in_the_training_are_told_after_it() -> None:
    """The targets are far below what 24 units of 32 can do, whose output is only ever added."""
    signs = np.where(np.arange(32) < 24, 1.0, -1.0)

    def one_hidden(params: Any, batch: Any) -> Array:
        x, y = batch
        return jnp.mean((jax.nn.relu(x @ params["w"] + params["b"]) @ signs - y) ** 2)

    x, y = rows(64, 0)
    report = gradscope.monitor(
        one_hidden, mlp(sizes=(8, 32))[0], (x, y[:, 0] - 1e4), optimizer=optax.adam(0.1), steps=100
    )
    (found,) = [finding for finding in report.findings if finding.rule == "dead-units"]
    assert found.message.startswith("After 100 steps of your optimizer: ")
    assert "24 of the 32 units of `w` (75 %) are dead, 0 were before" in found.message
    assert found.remedy.startswith("Lower the learning rate")
