"""Which learning rates are tried, and which of them is the best."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradscope.errors import GradscopeError
from gradscope.load.problem import Problem
from gradscope.optimizers import search
from gradscope.optimizers.budget import Budget, BudgetSpent
from gradscope.optimizers.compare import compare
from gradscope.optimizers.engines import TrainingRun
from gradscope.optimizers.lattice import TrialSetting
from gradscope.records import Comparison, Contestant
from gradscope.records.options import CompareOptions
from tests.optimizers.problems import quadratic


def compared(problem: Problem, **terms: Any) -> Comparison:
    options = CompareOptions(**{"optimizers": ("sgd",), "steps": 20, "seeds": 1, "grid": 3, **terms})
    return compare(problem.reseeded, options, 0, lambda stage: None)


def overfitting() -> Problem:
    """Training goes to 1, as fast as the rate is high; validation has its minimum at 0.5 and is passed."""

    def loss(params: Any, batch: Any) -> Any:
        return jnp.sum((params["x"] - batch) ** 2)

    return Problem(
        loss, {"x": np.zeros(1, np.float32)}, np.ones(1, np.float32), validation_batch=np.full(1, 0.5, "f")
    )


def rate_of(row: Contestant, rate: float) -> float | None:
    return next(trial.validation_loss for trial in row.trials if trial.learning_rate == rate)


def test_the_validation_loss_decides_on_the_learning_rate_where_there_is_one() -> None:
    (row,) = compared(overfitting(), grid=5, exhaustive=True).contestants
    losses = {t.learning_rate: t.validation_loss for t in row.trials}
    assert None not in losses.values(), "each run that came to the end is judged"
    assert row.learning_rate == min(losses, key=lambda rate: losses[rate] or 0.0)
    assert row.validation_loss == rate_of(row, row.learning_rate)
    assert row.final_loss > min(trial.final_loss for trial in row.trials)


def test_without_a_validation_batch_the_training_loss_decides() -> None:
    problem = overfitting()
    (row,) = compared(Problem(problem.loss_fn, problem.params, np.ones(1, np.float32))).contestants
    assert row.final_loss == min(trial.final_loss for trial in row.trials)
    assert row.validation_loss is None


def run(rate: float, losses: list[float], validation: float | None = None) -> TrainingRun:
    return TrainingRun(TrialSetting(rate), None, losses, validation=validation)  # type: ignore[arg-type]


def test_a_rate_whose_runs_died_early_is_not_taken_for_judged() -> None:
    runs = [run(1.0, [2.0, math.nan]), run(0.1, [2.0, 1.0, 0.5], 0.7)]
    assert search.best_setting(runs, 3) == TrialSetting(0.1)


def interrupted(when: str, **terms: Any) -> Comparison:
    def stage(text: str) -> None:
        if when in text:
            raise KeyboardInterrupt

    options = CompareOptions(**{"optimizers": ("sgd", "adam"), "steps": 40, "seeds": 2, "grid": 3, **terms})
    return compare(quadratic().reseeded, options, 0, stage)


def test_an_interruption_keeps_the_settings_of_an_optimizer_that_came_to_the_end() -> None:
    found = interrupted("learning rate 1, to step 40")
    (row,) = found.contestants
    assert row.name == "sgd"
    assert {len(trial.losses) for trial in row.trials if not trial.stopped_early} == {40}
    assert max(trial.learning_rate or 0.0 for trial in row.trials) < 1.0
    assert any(reason.startswith("Not every setting of sgd was tried") for reason in found.reasons)
    assert any(
        "sgd did not come to the seeds that judge: it has no losses but" in said for said in found.reasons
    )
    assert {trial.seed for trial in row.judged} == {2, 3}, "those that tune"
    assert not found.complete


def limited(monkeypatch: pytest.MonkeyPatch, chunks: int, **terms: Any) -> Comparison:
    """A comparison whose budget is spent after so many chunks of steps and compilations."""
    asked = itertools.count(1)

    def require(self: Budget, ahead_s: float) -> None:
        if self.is_limit and next(asked) > chunks:
            raise BudgetSpent

    monkeypatch.setattr(Budget, "require", require)
    usual = {"optimizers": ("sgd", "adam"), "steps": 40, "seeds": 2, "grid": 3, "budget_s": 1000.0}
    options = CompareOptions(**{**usual, **terms})
    return compare(quadratic(optimizer=optax.sgd(0.1)).reseeded, options, 0, lambda stage: None)


def test_the_end_of_the_budget_keeps_what_is_known_and_names_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = limited(monkeypatch, 16)
    assert not found.complete
    assert found.budget_spent_s == 1000.0
    assert found.contestants
    assert found.own is not None, "the user's own is measured first"
    missing = {"sgd", "adam"} - {row.name for row in found.contestants}
    assert missing
    assert found.reasons[0].startswith("The budget of 1000 s was spent; not measured: ")
    assert all(name in found.reasons[0] for name in missing)


def test_a_budget_that_ends_before_anything_is_known_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GradscopeError) as caught:
        limited(monkeypatch, 1)
    assert caught.value.slug == "budget-too-small"


def test_no_rate_beyond_the_grid_is_begun_without_time_for_it() -> None:
    engine, terms = Engined(), search.SearchSettings(2, exhaustive=True, keep_runs=True, until=0.0)
    runs: list[TrainingRun] = []
    grid = [TrialSetting(0.1), TrialSetting(1.0), TrialSetting(10.0)]
    assert not search.search(engine, [None], grid, terms, lambda stage: None, runs)  # type: ignore[list-item]
    assert [each.setting for each in runs] == grid
    assert search.search(engine, [None], grid, replace(terms, until=math.inf), print, [])  # type: ignore[list-item]


class Engined:
    """The higher the rate, the lower the loss, up to 100."""

    def __init__(self) -> None:
        self.compiled, self.step_seconds = 0, [1.0]

    def advance(self, runs: Sequence[TrainingRun], steps: int) -> None:
        for each in runs:
            each.losses = [2.0, abs(math.log10(each.setting.rate / 100.0))]


def test_runs_of_an_interrupted_optimizer_that_did_not_come_to_the_end_tell_nothing() -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted("to step 40")


def test_of_an_interrupted_search_only_rates_known_at_every_seed_are_kept() -> None:
    terms = search.SearchSettings(2, exhaustive=False, keep_runs=True)
    runs = [run(0.1, [2.0, 1.0]), run(0.1, [2.0, 1.0]), run(1.0, [2.0, 1.0]), run(1.0, [2.0]), run(3.0, [])]
    assert {known.setting for known in search.completed_runs(runs, terms)} == {TrialSetting(0.1)}
    assert search.completed_runs(runs[3:], terms) == []
    evaluation_weights = search.SearchSettings(2, exhaustive=False, keep_runs=True, validate=lambda run: 0.0)
    assert search.completed_runs(runs, evaluation_weights) == []


@pytest.mark.parametrize("exhaustive", [False, True])
def test_what_a_rate_ten_times_too_high_or_low_loses_is_measured(exhaustive: bool) -> None:
    found = compare(
        quadratic().reseeded, CompareOptions(("sgd", "adam"), 80, 1, 5, exhaustive=exhaustive), 0, print
    )
    for row in found.contestants:
        assert row.tried == 12
        assert row.loss_at_tenfold is not None
        assert row.loss_at_tenth is not None
    sgd = next(row for row in found.contestants if row.name == "sgd")
    assert sgd.loss_at_tenfold == math.inf, "beyond 2 / the largest curvature"
    assert not any(t.stopped_early for t in sgd.trials if (t.learning_rate or 0.0) > 1.0)
