"""Scores of classes that are far apart at the start: an error where the steps go well with them divided."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradscope.records import Finding
from gradscope.runs.check import check_loss

RNG = np.random.default_rng(0)
CONTENT = RNG.normal(size=(64, 6)) @ RNG.normal(size=(6, 20))
VIEWS = tuple((CONTENT + RNG.normal(size=(64, 20))).astype(np.float32) for _ in range(2))
LABELS = RNG.integers(0, 5, 256)
LABELLED = ((2 * RNG.normal(size=(5, 20)))[LABELS] + RNG.normal(size=(256, 20))).astype(np.float32), LABELS
PROTOTYPES = RNG.normal(size=(5, 32)).astype(np.float32)
PARAMS = [
    {"w": jax.random.normal(jax.random.key(n), (n, m)) * (2 / n) ** 0.5, "b": jnp.zeros(m)}
    for n, m in ((20, 64), (64, 32))
]
entropy = optax.softmax_cross_entropy_with_integer_labels


def embedded(params: Any, x: Any) -> Any:
    first, last = params
    return jax.nn.relu(x @ first["w"] + first["b"]) @ last["w"] + last["b"]


def of_pairs(params: Any, views: Any, scale: float, *, unit: bool = False) -> Any:
    one, two = (embedded(params, view) for view in views)
    if unit:
        one, two = (z / (jnp.linalg.norm(z, axis=1, keepdims=True) + 1e-6) for z in (one, two))
    return entropy(one @ two.T * scale, jnp.arange(len(one))).mean()


def of_numbers(params: Any, views: Any) -> Any:
    one, two = (embedded(params, view) for view in views)
    number = jnp.arange(len(one))
    return -jax.nn.log_softmax(one @ two.T / 0.02)[number, number].mean()


def of_prototypes(params: Any, batch: Any) -> Any:
    return entropy(100 * embedded(params, batch[0]) @ PROTOTYPES.T, batch[1]).mean()


def told(loss: Any, batch: Any, optimizer: Any) -> list[Finding]:
    report = check_loss(loss, PARAMS, batch, optimizer=optimizer)
    assert not [each for each in report.skipped if each.what == "scores of the classes"]
    return [one for one in report.findings if one.severity.value != "note"]


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("loss", "batch"),
    [
        (lambda p, views: of_pairs(p, views, 100.0), VIEWS),
        (of_prototypes, LABELLED),
        (of_numbers, VIEWS),
    ],
)
def test_scores_that_no_rate_of_the_user_suits_are_the_cause_and_the_rate_a_symptom(
    loss: Any, batch: Any
) -> None:
    (finding,) = told(loss, batch, optax.sgd(0.05))
    assert (finding.rule, finding.severity.value) == ("unexpected-initial-loss", "error")
    assert "learning-rate-too-high" in str(finding.evidence["silenced"])
    assert finding.evidence["loss_after_divided"] < 0.7 * finding.evidence["uniform"]  # type: ignore[operator]


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("loss", "batch", "optimizer"),
    [
        (lambda p, views: of_pairs(p, views, 10.0, unit=True), VIEWS, optax.sgd(0.05)),
        (lambda p, views: of_pairs(p, views, 32**-0.5), VIEWS, optax.adam(1e-3)),
        (lambda p, batch: entropy(20 * embedded(p, batch[0]), batch[1]).mean(), LABELLED, optax.adam(0.03)),
    ],
)
def test_scores_that_come_down_by_themselves_are_not_told(loss: Any, batch: Any, optimizer: Any) -> None:
    assert told(loss, batch, optimizer) == []


def test_a_rate_that_is_too_high_for_usual_scores_is_the_cause_itself() -> None:
    (finding,) = told(
        lambda p, batch: entropy(embedded(p, batch[0]), batch[1]).mean(), LABELLED, optax.sgd(30.0)
    )
    assert finding.rule == "learning-rate-too-high"
