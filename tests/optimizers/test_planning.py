"""How much is run within a budget, and by which engine."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gradscope.cli.options import seconds_in
from gradscope.errors import GradscopeError
from gradscope.load.problem import Problem
from gradscope.optimizers import planning
from gradscope.optimizers.budget import REPORT_S, Budget, budget_of
from gradscope.optimizers.feed import feed_of
from gradscope.optimizers.planning import RunPlan, Work, engine_for, keeps_runs, plan
from gradscope.records.options import CompareOptions
from gradscope.trace.program import Program


def planned(step_s: float, compile_s: float = 1.0, left_s: float = math.inf, **wanted: Any) -> RunPlan:
    """Of seven optimizers with a learning rate."""
    return plan(CompareOptions(**wanted), Work(7, 0, step_s, compile_s), Budget(left_s + REPORT_S))


def numbers(found: RunPlan) -> tuple[int, int, int]:
    return found.seeds, found.steps, found.grid


def test_a_fast_step_gets_everything_and_nothing_is_said() -> None:
    found = planned(1e-5)
    assert numbers(found) == (5, 200, 5)
    assert found.notes == ()
    # Seven compilations; a halved grid of five and seven more settings with two seeds, and five that judge.
    assert found.estimate_s == pytest.approx(7 * (1.0 + ((0.55 * 5 + 7) * 2 + 5) * 200 * 1e-5))
    assert found.tuning_seeds == 2


def test_steps_go_first_then_rates_then_seeds_and_each_cut_is_told() -> None:
    few = planned(4.5e-3, left_s=110)
    assert few.seeds == 5, "with fewer hardly any difference is significant"
    assert few.grid == 5
    assert 60 <= few.steps < 200
    assert f"{few.steps} steps instead of 200" in few.notes[0]
    rates = planned(1.3e-2, left_s=110)
    assert (*numbers(rates), rates.tuning_seeds) == (5, 60, 3, 2)
    tuned = planned(2e-2, left_s=110)
    assert (*numbers(tuned), tuned.tuning_seeds) == (5, 60, 3, 1)
    slow = planned(3e-2, left_s=110)
    assert numbers(slow) == (3, 60, 3)
    assert "3 learning rates instead of 5, 1 tuning seed instead of 2, 3 seeds instead" in slow.notes[0]
    assert "3 seeds are too few to tell optimizers apart" in slow.notes[0]


def test_a_limit_that_the_least_exceeds_is_refused_beforehand_with_the_numbers() -> None:
    with pytest.raises(GradscopeError) as caught:
        planned(0.5, left_s=110)
    assert caught.value.slug == "budget-too-small"
    assert "7 optimizers take 16 min or longer, more than the budget of 112 s" in caught.value.what
    assert "A step takes 500 ms" in caught.value.why
    assert "--budget" in caught.value.fix


def test_a_budget_that_the_error_asks_for_is_accepted() -> None:
    with pytest.raises(GradscopeError) as caught:
        planned(0.08, left_s=110)
    asked = seconds_in(caught.value.fix.split("--budget ")[1].split(",")[0])
    assert asked is not None
    assert planned(0.08, left_s=asked - 10).steps == 60


def test_without_a_limit_a_long_comparison_only_says_how_long() -> None:
    found = planned(0.5, steps=200, seeds=5, grid=5)
    assert numbers(found) == (5, 200, 5)
    assert "the comparison takes about 286 min" in found.notes[0]


def test_what_the_user_gave_is_never_cut() -> None:
    assert planned(1.0, seeds=9).seeds == 9
    assert planned(1.0, steps=33).steps == 33
    assert planned(1.0, grid=7).grid == 7
    assert planned(1e-5, steps=33).steps == 33, "no rounding up to whole chunks"


def test_the_budget_decides_and_an_exhaustive_grid_costs_more() -> None:
    assert numbers(planned(2e-2, left_s=3600)) == (5, 200, 5)
    assert planned(1e-5, exhaustive=True).estimate_s > planned(1e-5).estimate_s
    assert planned(1e-3, left_s=12).estimate_s < planned(1e-3).estimate_s


def test_an_optimizer_without_a_rate_costs_one_run_of_each_seed() -> None:
    alone = plan(CompareOptions(), Work(0, 1, 1e-2, 1.0), Budget())
    assert alone.estimate_s == pytest.approx(1.0 + 5 * 200 * 1e-2)


def test_the_default_limits_only_where_the_user_sets_nothing() -> None:
    assert budget_of(CompareOptions(), None).seconds == 120
    assert not budget_of(CompareOptions(steps=200), None).is_limit
    assert budget_of(CompareOptions(steps=200, budget_s=9.0), None).seconds == 9


@pytest.mark.parametrize("step_s", [1e-5, 1e-4, 1e-3, 5e-3])
def test_the_estimate_without_further_rates_stays_in_the_limit(step_s: float) -> None:
    found = planned(step_s, left_s=110)
    assert Work(7, 0, step_s, 1.0).seconds(found, False, further=False) <= 110


def program_of(loss: Any, params: Any, batch: Any) -> Program:
    return feed_of(Problem(loss, params, batch), 0).program()


def dense(size: int, dtype: Any = np.float32) -> Program:
    return program_of(
        lambda p, b: jnp.sum(b @ p["w"]), {"w": np.ones((size, 10), dtype)}, np.ones((2, size), dtype)
    )


@cache
def convolving() -> Program:
    def loss(params: Any, batch: Any) -> Any:
        return jnp.sum(lax.conv_general_dilated(batch, params["w"], (1, 1), "SAME"))

    return program_of(loss, {"w": np.ones((4, 3, 3, 3), np.float32)}, np.ones((2, 3, 8, 8), np.float32))


@pytest.mark.parametrize(
    ("program", "kept", "run_steps", "vmap", "engine"),
    [
        (lambda: dense(100), True, 5_000, "auto", "loop"),
        (lambda: dense(100), True, 4_999, "auto", "step"),
        (lambda: dense(100), True, 1_000_000, "auto", "vmap"),
        (lambda: dense(100), True, 1_000_000, "off", "loop"),
        (lambda: dense(100), True, 100, "on", "vmap"),
        (lambda: dense(100), False, 1_000_000, "on", "step"),
        (lambda: dense(100, jnp.bfloat16), True, 1_000_000, "auto", "loop"),
        (lambda: dense(2_000), True, 1_000_000, "auto", "loop"),
        (lambda: dense(30_000), True, 1_000_000, "auto", "step"),
        (convolving, True, 5_000, "auto", "step"),
    ],
)
def test_on_a_cpu_the_engine_follows_from_size_convolutions_and_what_is_kept(
    program: Any, kept: bool, run_steps: int, vmap: str, engine: str
) -> None:
    found, why = engine_for(program(), kept, run_steps, vmap)
    assert found == engine
    assert why


def test_an_accelerator_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning.jax, "default_backend", lambda: "gpu")
    assert engine_for(convolving(), True, 10, "auto")[0] == "vmap"
    assert engine_for(convolving(), True, 10, "off")[0] == "loop"


def test_runs_are_kept_where_memory_says_so_or_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    from gradscope.optimizers import feed as feeds

    feed = feed_of(Problem(lambda p, b: jnp.sum(p["w"]), {"w": np.ones(1000, np.float32)}, np.ones(1)), 0)
    for free, kept in ((None, True), (10**9, True), (10**4, False)):
        monkeypatch.setattr(feeds, "free_memory", lambda free=free: free)
        assert keeps_runs(feed, 25) is kept
    assert math.isfinite(feeds.memory_share(0.5))
