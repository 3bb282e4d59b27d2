"""The learning-rate range test, on a quadratic whose stability limit is known."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradscope
from gradscope.errors import GradscopeError
from gradscope.load.problem import Problem
from gradscope.optimizers.candidates import named, one_of
from gradscope.optimizers.range_test import FACTORS, HIGHEST, LOWEST, _steepest, _valley, find_rate
from gradscope.records import RateSearch
from tests.optimizers.problems import CURVATURES, mlp, quadratic

STABLE = 2.0 / CURVATURES.max()


def searched(problem: Problem, name: str | None = None, seeds: int = 3, steps: int = 100) -> RateSearch:
    return find_rate(
        problem.reseeded,
        one_of(problem, name),
        seed=0,
        seeds=seeds,
        steps=steps,
        progress=lambda stage: None,
    )


def test_on_a_quadratic_the_loss_turns_where_sgd_becomes_unstable() -> None:
    found = searched(quadratic(), "sgd")
    for test in found.tests:
        lowest = test.rates[int(np.argmin(test.losses))]
        # The mean over the past lags by some steps, of a fifth each.
        assert STABLE / 2 < lowest < 6 * STABLE
        assert test.rates[0] == pytest.approx(LOWEST)
        assert max(test.rates) < HIGHEST, "the ramp ends where the loss has taken off"
    assert found.low <= found.suggestion <= found.high
    assert found.suggestion < STABLE
    assert found.warning == ""


@pytest.mark.parametrize("name", ["momentum", "adam"])
def test_the_suggestion_is_of_the_order_of_the_grids_best(name: str) -> None:
    found = searched(mlp(), name)
    report = gradscope.compare_optimizers(mlp(), optimizers=name, steps=100, seeds=2, exhaustive=True)
    assert report.optimizers is not None
    best = report.optimizers.contestants[0].learning_rate
    assert best is not None
    assert best / 10 < found.suggestion < best * 10


def test_the_line_to_paste_makes_the_optimizer() -> None:
    found = searched(quadratic(), "nesterov", seeds=1)
    assert eval(found.code, {"optax": optax}).init({"x": jnp.ones(2)}) is not None
    assert f"({found.suggestion:.2g}," in found.code


def test_the_ramp_is_a_factor_before_the_updates_of_the_users_own_optimizer() -> None:
    found = searched(quadratic(optimizer=optax.sgd(0.01)))
    assert found.is_factor
    assert found.optimizer == "yours"
    assert found.tests[0].rates[0] == pytest.approx(FACTORS[0])
    for test in found.tests:
        assert STABLE / 2 < 0.01 * test.rates[int(np.argmin(test.losses))] < 6 * STABLE
    alone = searched(quadratic(), "sgd")
    assert not alone.is_factor
    assert 0.3 < 0.01 * found.suggestion / alone.suggestion < 3


def test_a_loss_that_falls_to_the_end_says_that_the_best_rate_may_be_higher() -> None:
    found = searched(quadratic(optimizer=optax.sgd(1e-9)))
    assert "higher" in found.warning


def test_a_loss_that_never_falls_gives_no_line_to_paste() -> None:
    problem = Problem(
        lambda p, b: jnp.sum(b) + 0.0 * jnp.sum(p["x"]), {"x": np.ones(2, np.float32)}, CURVATURES
    )
    found = searched(problem, "sgd", seeds=1)
    assert "gradscope check" in found.warning
    assert found.code == ""


def test_a_loss_that_falls_below_zero_is_stopped_too() -> None:
    def loss(params: Any, batch: Any) -> Any:
        return 0.5 * jnp.sum(batch * params["x"] ** 2) - 100.0

    problem = Problem(loss, {"x": np.ones(2, np.float32)}, CURVATURES)
    shifted, plain = searched(problem, "sgd", seeds=1), searched(quadratic(), "sgd", seeds=1)
    assert 0.2 < shifted.suggestion / plain.suggestion < 5
    assert len(shifted.tests[0].losses) < 100


def test_a_loss_that_starts_as_no_number_is_refused() -> None:
    problem = Problem(lambda p, b: (p["x"] * np.nan).sum(), {"x": np.ones(2, np.float32)}, CURVATURES)
    with pytest.raises(GradscopeError, match="before the first step") as caught:
        searched(problem, "sgd")
    assert caught.value.slug == "loss-not-finite"


@pytest.mark.parametrize("name", ["lbfgs", "prodigy"])
def test_an_optimizer_without_a_learning_rate_is_refused(name: str) -> None:
    with pytest.raises(GradscopeError, match="no learning rate to search"):
        searched(quadratic(), name)


@pytest.mark.parametrize(
    ("seeds", "steps", "option"), [(0, 100, "--seeds"), (1, 0, "--steps"), (1, 19, "--steps")]
)
def test_too_few_seeds_or_steps_are_refused(seeds: int, steps: int, option: str) -> None:
    with pytest.raises(GradscopeError, match=f"{option} is") as caught:
        searched(quadratic(), "sgd", seeds, steps)
    assert caught.value.slug == "bad-option"


def test_the_other_readings_are_those_that_their_names_say() -> None:
    rates = np.geomspace(1e-6, 1, 13)
    losses = np.array([5.0, 5.1, 4.9, 4.8, 4.6, 4.3, 3.0, 2.5, 2.4, 2.3, 4.0, 6.0, 9.0])
    assert _steepest(rates, losses) == rates[6], "between 4.3 and 2.5 it falls fastest"
    # The longest fall goes from the first (5.0) to the tenth; halfway lies the fifth.
    assert _valley(rates, losses) == pytest.approx(rates[4])


def test_named_ones_take_a_ramp() -> None:
    assert math.isfinite(searched(mlp(), "rmsprop", seeds=1, steps=40).suggestion)
    assert named("rmsprop").usual == 1e-3
