"""Which learning rates are tried, and which of them is the best."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from gradscope.load.problem import Problem
from gradscope.optimizers.compare import compare
from gradscope.options import CompareOptions
from gradscope.records import Comparison, Contestant


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
