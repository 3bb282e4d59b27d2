"""What a step is said to take, before anything is planned by it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from gradscope.load.problem import Problem
from gradscope.optimizers import setup
from gradscope.optimizers.budget import Budget
from gradscope.optimizers.compare import compare
from gradscope.optimizers.feed import feed_of
from gradscope.optimizers.planning import Work
from gradscope.optimizers.setup import drawing_time
from gradscope.records.options import CompareOptions

DRAWS_S = 0.02


class Slow:
    """Batches that take their time; how many were drawn is counted."""

    def __init__(self) -> None:
        self.drawn = 0

    def __call__(self) -> Iterator[Any]:
        for number in range(1_000):
            self.drawn += 1
            time.sleep(DRAWS_S)
            yield np.full(2, 1.0 + number, np.float32)


def slow() -> tuple[Problem, Slow]:
    batches = Slow()
    params = {"x": np.ones(2, np.float32)}
    return Problem(lambda p, b: jnp.sum((p["x"] * b) ** 2), params, batches=batches), batches


def planned_steps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    plan = setup.plan

    def watched(wanted: Any, work: Work, budget: Budget) -> Any:
        found.append(work.step_s)
        return plan(wanted, work, budget)

    monkeypatch.setattr(setup, "plan", watched)
    return found


TERMS = CompareOptions(optimizers=("sgd",), steps=3, seeds=1, grid=1)


def test_a_step_is_timed_without_drawing_batches_that_are_kept() -> None:
    problem, batches = slow()
    compare(problem.reseeded, TERMS, 0, lambda stage: None)
    assert batches.drawn <= 5, "the first one, and those of the three steps"


def test_drawing_counts_where_batches_are_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = planned_steps(monkeypatch)
    monkeypatch.setattr(setup, "keep", lambda feeds, count: False)
    problem, _ = slow()
    found = compare(problem.reseeded, TERMS, 0, lambda stage: None)
    assert "streamed" in found.engine
    assert steps[1] >= steps[0] + 0.9 * DRAWS_S


def test_the_time_to_draw_is_that_of_one_batch() -> None:
    assert drawing_time(feed_of(slow()[0], 0)) >= 0.9 * DRAWS_S
