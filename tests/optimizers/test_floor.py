"""A loss without a floor has no winner; one that may be negative has."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from gradscope.load.problem import Problem
from gradscope.optimizers.candidates import named
from gradscope.optimizers.compare import compare
from gradscope.optimizers.engines import TrainingRun
from gradscope.optimizers.floor import falls_without_end
from gradscope.optimizers.lattice import TrialSetting
from gradscope.optimizers.range_test import find_rate
from gradscope.records import Comparison, RateSearch
from gradscope.records.options import CompareOptions

X = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
LABELS = np.eye(3, dtype=np.float32)[np.argmax(X[:, :3], 1)]


def classifier(loss: Any, scale: float = 1.0) -> Problem:
    """Two layers, and `loss(scores, targets)` of each row."""
    rng = np.random.default_rng(1)
    params = {
        "w1": rng.normal(size=(4, 8)).astype(np.float32) / 2,
        "w2": rng.normal(size=(8, 3)).astype(np.float32) / 3,
    }

    def total(params: Any, batch: Any) -> Any:
        x, y = batch
        return scale * jnp.mean(loss(jnp.tanh(x @ params["w1"]) @ params["w2"], y))

    return Problem(total, params, (X, LABELS))


def linear(scores: Any, targets: Any) -> Any:
    """A cross entropy that lacks its log_softmax."""
    return -jnp.sum(scores * targets, axis=1)


def cosine(scores: Any, targets: Any) -> Any:
    """Negative, and not below -1."""
    norms = jnp.linalg.norm(scores, axis=1) * jnp.linalg.norm(targets, axis=1)
    return -jnp.sum(scores * targets, axis=1) / (norms + 1e-6)


def density() -> Problem:
    """The negative log-likelihood of a Gaussian whose spread is learned, near zero at the start."""

    def loss(params: Any, batch: Any) -> Any:
        scale = jnp.exp(params["log"])
        return jnp.mean(0.5 * ((batch - params["mean"]) / scale) ** 2 + params["log"]) - 0.49

    rows = (0.3 * np.random.default_rng(2).normal(size=(64, 3)) + 1.0).astype(np.float32)
    return Problem(loss, {"mean": np.zeros(3, np.float32), "log": np.zeros(3, np.float32)}, rows)


def energy() -> Problem:
    """A deep Ritz energy: exactly zero at the start, and lowest at -1/2."""

    def loss(params: Any, batch: Any) -> Any:
        return jnp.mean(0.5 * (params["u"] * batch) ** 2 - params["u"] * batch)

    return Problem(loss, {"u": np.zeros(1, np.float32)}, np.ones((8, 1), np.float32))


def compared(problem: Problem, *names: str) -> Comparison:
    return compare(problem.reseeded, CompareOptions(names, steps=60, seeds=1, grid=3), 0, lambda stage: None)


def searched(problem: Problem, name: str) -> RateSearch:
    return find_rate(problem.reseeded, named(name), seed=0, seeds=1, steps=100, progress=lambda stage: None)


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e6])
@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_a_loss_linear_in_the_scores_has_no_winner_at_any_scale(name: str, scale: float) -> None:
    if (name, scale) == ("sgd", 1e-6):
        pytest.skip("its largest rate moves nothing: nothing falls far")
    found = compared(classifier(linear, scale), name)
    assert found.lacks_floor
    assert found.best is None
    assert found.recommendation == ""
    assert found.target == -math.inf
    assert found.reasons[0].startswith("The loss shows no floor: with")
    assert "log_softmax" in found.reasons[0]


@pytest.mark.parametrize("problem", [lambda: classifier(cosine), density, energy])
@pytest.mark.parametrize("name", ["sgd", "adam", "rmsprop"])
def test_a_negative_loss_with_a_floor_has_a_winner(problem: Any, name: str) -> None:
    found = compared(problem(), name)
    assert not found.lacks_floor
    assert found.best is not None
    assert found.recommendation


def test_the_range_test_suggests_nothing_for_a_loss_without_a_floor() -> None:
    found = searched(classifier(linear), "adam")
    assert found.code == ""
    assert "far below zero" in found.warning
    for healthy in (classifier(cosine), density(), energy()):
        assert searched(healthy, "adam").code


def runs(*curves: tuple[float, list[float]]) -> list[TrainingRun]:
    return [TrainingRun(TrialSetting(rate), None, losses) for rate, losses in curves]  # type: ignore[arg-type]


def test_it_takes_far_a_steady_fall_and_more_at_higher_rates() -> None:
    slow, fast = [1.0, -9.0, -19.0, -29.0, -39.0], [1.0, -99.0, -199.0, -299.0, -399.0]
    assert falls_without_end(runs((0.1, slow), (0.3, fast)))
    assert not falls_without_end(runs((0.1, fast), (0.3, slow)))
    assert not falls_without_end(runs((0.3, fast))), "one rate shows nothing"
    assert not falls_without_end(runs((0.1, slow), (0.3, fast), (0.9, [1.0, 8.0, 9.0, 9.0, 9.0])))
    flattens = [1.0, -300.0, -390.0, -398.0, -399.0]
    assert not falls_without_end(runs((0.1, slow), (0.3, flattens)))
    assert falls_without_end(runs((0.1, slow), (0.3, fast), (0.9, [1.0, -1e9, -math.inf])))
