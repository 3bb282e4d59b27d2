"""Dropout that is told: what it keeps, and the trial against plain loops of optax."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest

from gradscope.records import Dropout, Report
from gradscope.runs.check import check_loss
from tests.training.test_short import BATCH, PARAMS

OPTIMIZER = optax.adam(1e-2)
BOTH = {"body": 1.0, "head": 1.0}


def masked(x: Any, keep: float, key: Any) -> Any:
    return x if keep == 1 or key is None else x * jax.random.bernoulli(key, keep, x.shape) / keep


def loss_of(body: float = 1.0, head: float = 1.0, scale: float = 1.0) -> Any:
    def loss_fn(params: Any, batch: Any, key: Any) -> Any:
        x, y = batch
        h = jnp.tanh(x @ params["body"]["w"] + params["body"]["b"])
        h = masked(h, body, key)
        out = masked(h @ params["head"]["w"] + params["head"]["b"], head, key)
        return scale * jnp.mean((out - y) ** 2)

    return loss_fn


def told(loss: Any, **fields: Any) -> tuple[Report, tuple[Dropout, ...]]:
    report = check_loss(loss, PARAMS, BATCH, optimizer=OPTIMIZER, **fields)
    assert report.training is not None, report.skipped
    return report, report.training.dropouts


def severities(report: Report) -> list[str]:
    return [each.severity.value for each in report.findings if each.rule == "dropout-too-high"]


@pytest.fixture(scope="module")
def last() -> tuple[Report, tuple[Dropout, ...]]:
    return told(loss_of(head=0.5))


def test_dropout_of_the_output_is_an_error_with_its_layer_and_what_it_keeps(last: Any) -> None:
    report, (found,) = last
    assert severities(report) == ["error"]
    assert (found.layer, found.last, found.total) == ("head", True, 32 * 64)
    assert found.share == pytest.approx(0.5, abs=0.05)
    assert "jax.random.bernoulli(key, keep, x.shape)" in found.source.text


def test_the_ends_are_those_of_plain_loops_and_losses_without_masks(last: Any) -> None:
    trial, plain = last[1][0].trial, loss_of()

    @jax.jit
    def step(params: Any, state: Any) -> Any:
        updates, state = OPTIMIZER.update(jax.grad(plain)(params, BATCH, None), state, params)
        return optax.apply_updates(params, updates), state

    params, state = PARAMS, OPTIMIZER.init(PARAMS)
    for _ in range(trial.steps):
        params, state = step(params, state)
    assert trial.start == pytest.approx(float(plain(PARAMS, BATCH, None)), rel=0.02)
    assert trial.end_without == pytest.approx(float(plain(params, BATCH, None)), rel=0.05)


def test_a_rate_that_is_meant_as_what_is_kept_is_an_error() -> None:
    report, (found,) = told(loss_of(body=0.02))
    assert severities(report) == ["error"]
    assert (found.layer, found.last) == ("body", False)
    assert found.share == pytest.approx(0.02, abs=0.005)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_scale_of_the_loss_changes_nothing(scale: float) -> None:
    assert severities(told(loss_of(head=0.5, scale=scale))[0]) == ["error"]


@pytest.mark.parametrize("keep", [0.5, 0.9])
def test_usual_dropout_inside_is_not_even_tried(keep: float) -> None:
    report, found = told(loss_of(body=keep))
    assert (severities(report), found) == ([], ())


def test_with_few_steps_nothing_is_tried() -> None:
    report, found = told(loss_of(body=0.1, head=0.5), steps=3)
    assert [each.trial for each in found] == [None, None]
    assert sorted(severities(report)) == ["note", "warning"]


def test_masks_inside_of_a_loop_are_counted_at_every_step() -> None:
    def loss_fn(params: Any, batch: Any, key: Any) -> Any:
        x, y = batch

        def step(h: Any, key: Any) -> Any:
            return jnp.where(jax.random.bernoulli(key, 0.1, h.shape), jnp.tanh(h) / 0.1, 0.0), None

        h, _ = jax.lax.scan(step, x @ params["body"]["w"], jax.random.split(key, 3))
        return jnp.mean((h @ params["head"]["w"] - y) ** 2)

    _, (found,) = told(loss_fn)
    assert found.total == 32 * 3 * 64 * 16
    assert found.share == pytest.approx(0.1, abs=0.005)
    assert found.trial is not None


def test_masks_of_complex_numbers_are_counted() -> None:
    def loss_fn(params: Any, batch: Any, key: Any) -> Any:
        x, y = batch
        h = masked(jnp.exp(1j * (x @ params["body"]["w"])), 0.1, key)
        return jnp.mean((jnp.real(h * (1 + 2j)) @ params["head"]["w"] - y) ** 2)

    report, (found,) = told(loss_fn)
    assert "dropout-too-high" not in [each.what for each in report.skipped]
    assert found.share == pytest.approx(0.1, abs=0.01)
