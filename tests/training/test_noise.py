"""Agreement of gradients between batches, against plain NumPy; and how far the first update may go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradscope.records import Report
from gradscope.runs.check import check_loss

ROWS, BATCHES = 8, 8
RNG = np.random.default_rng(0)
X = RNG.normal(size=(BATCHES, ROWS, 200)).astype(np.float32)
NOISE = RNG.normal(size=(BATCHES, ROWS)).astype(np.float32)


def loss(w: Any, batch: Any) -> Any:
    return jnp.mean((batch[0] @ w - batch[1]) ** 2)


def checked(targets: Any, optimizer: Any, scale: float = 1.0) -> Report:
    def batches() -> Iterator[Any]:
        yield from zip(X, targets, strict=True)

    return check_loss(
        lambda w, b: scale * loss(w, b), np.zeros(200, np.float32), batches=batches, optimizer=optimizer
    )


def rules(report: Report) -> list[str]:
    return [finding.rule for finding in report.findings]


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_signal_is_what_all_batches_share(scale: float) -> None:
    report = checked(NOISE, optax.sgd(1e-9 / scale), scale)
    assert report.training is not None
    noise = report.training.noise
    assert noise is not None
    gradients = np.stack([jax.grad(loss)(jnp.zeros(200), b) for b in zip(X, NOISE, strict=True)]).astype(
        float
    )
    products = gradients @ gradients.T
    apart = products[~np.eye(BATCHES, dtype=bool)].mean() / np.diag(products).mean()
    assert noise.signal == pytest.approx(apart, rel=1e-3, abs=1e-4)
    assert (noise.batches, noise.rows) == (BATCHES, ROWS)


def test_labels_that_have_nothing_to_do_with_the_inputs_are_told() -> None:
    few = X[..., :4]
    report = check_loss(
        loss,
        np.zeros(4, np.float32),
        batches=lambda: zip(few, NOISE, strict=True),
        optimizer=optax.sgd(1e-3),
    )
    assert "noisy-gradient" in rules(report)


def test_a_signal_that_all_batches_share_is_quiet() -> None:
    w = RNG.normal(size=200).astype(np.float32)
    assert "noisy-gradient" not in rules(checked(X @ w, optax.sgd(1e-2)))
    assert "noisy-gradient" not in rules(checked(NOISE + 3 * X.sum(-1), optax.sgd(1e-2)))


def test_a_loss_that_falls_is_not_looked_at() -> None:
    report = checked(X.sum(-1), optax.sgd(1e-2))
    assert report.training is not None
    assert report.training.noise is None
    assert report.training.critical is None


@pytest.mark.parametrize(("rate", "critical"), [(30.0, 1 / 64), (2.0, 1 / 4)])
def test_the_critical_step_is_that_of_the_quadratic(rate: float, critical: float) -> None:
    """At curvature 2 a step of the gradient times 1 is where the loss of w² is as high as before."""
    report = check_loss(lambda w: jnp.sum(w**2), jnp.ones(3), optimizer=optax.sgd(rate))
    assert report.training is not None
    assert report.training.critical == critical
    (finding,) = [each for each in report.findings if each.rule == "learning-rate-too-high"]
    assert f"{critical:.3g} of it does not" in finding.message
    assert critical * rate <= 1 < 4 * critical * rate
