"""The first batch learned by heart, against a plain loop over it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradscope.records import OneBatch, Report
from gradscope.runs.check import check_loss

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 16, 20)).astype(np.float32)
Y = RNG.normal(size=(4, 16)).astype(np.float32)
Y -= Y.mean(axis=1, keepdims=True)
START = RNG.normal(0.0, 0.02, size=20).astype(np.float32)
OPTIMIZER = optax.adam(0.05)


def loss(w: Any, batch: Any) -> Any:
    return jnp.mean((batch[0] @ w - batch[1]) ** 2)


def of_the_mean(w: Any, batch: Any) -> Any:
    """Of all examples of a batch the same output: it cannot be learned by heart."""
    return jnp.mean((jnp.mean(batch[0] @ w) - batch[1]) ** 2)


def batches() -> Iterator[Any]:
    yield from zip(X, Y, strict=True)


def checked(function: Any, **options: Any) -> tuple[OneBatch | None, Report]:
    report = check_loss(function, START, batches=batches, optimizer=OPTIMIZER, **options)
    assert report.training is not None
    return report.training.one_batch, report


def test_it_is_what_a_loop_over_one_batch_reaches() -> None:
    found, report = checked(loss, overfit_batch=True)
    w, state = jnp.asarray(START), OPTIMIZER.init(jnp.asarray(START))
    for _ in range(200):
        updates, state = OPTIMIZER.update(jax.grad(loss)(w, (X[0], Y[0])), state)
        w = optax.apply_updates(w, updates)
    assert found is not None
    assert (found.steps, found.asked) == (200, True)
    assert found.start == pytest.approx(float(loss(START, (X[0], Y[0]))), rel=1e-5)
    assert found.end == pytest.approx(float(loss(w, (X[0], Y[0]))), rel=0.05)
    assert "batch-not-overfitted" not in [each.rule for each in report.findings]


def test_one_that_cannot_be_learned_is_a_warning_where_it_was_asked_for() -> None:
    _, report = checked(of_the_mean, overfit_batch=True, steps=40, select="batch-not-overfitted")
    (finding,) = report.findings
    assert finding.message.startswith("Trained on one and the same batch (the first) for 400 steps,")
    assert finding.severity.value == "warning"


def test_it_is_tried_by_itself_where_the_loss_does_not_fall() -> None:
    found, _ = checked(of_the_mean)
    assert found is not None
    assert (found.steps, found.asked) == (100, False)
    learned = check_loss(loss, START, batches=batches, optimizer=optax.sgd(0.02))
    assert learned.training is not None
    assert learned.training.one_batch is None


def test_the_layers_after_the_steps_are_those_of_a_loop() -> None:
    report = check_loss(loss, START, batches=batches, optimizer=OPTIMIZER)
    assert report.training is not None
    (after,) = report.training.after
    w, state = jnp.asarray(START), OPTIMIZER.init(jnp.asarray(START))
    for step in range(report.training.steps):
        batch = X[step % 4], Y[step % 4]
        updates, state = OPTIMIZER.update(jax.grad(loss)(w, batch), state)
        w = optax.apply_updates(w, updates)
    gradient, output = jax.grad(loss)(w, (X[0], Y[0])), X[0] @ w
    rms = [float(jnp.sqrt(jnp.mean(each**2))) for each in (w, gradient, output)]
    assert [after.weight_rms, after.gradient_rms, after.activation_rms] == pytest.approx(rms, rel=1e-3)
