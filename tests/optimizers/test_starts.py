"""Ends from several starts, on losses whose minima are known."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from gradscope.load.problem import Problem
from gradscope.optimizers.compare import compare
from gradscope.optimizers.ends import of_starts
from gradscope.records import Comparison, PairOfEnds, SeveralStarts
from gradscope.records.options import CompareOptions


def compared(loss: Any, init: Any, starts: int = 3, **terms: Any) -> Comparison:
    problem = Problem(loss, init(0), np.ones(1, np.float32))
    problem = problem if terms.pop("fixed", False) else problem.with_factory(init)
    options = CompareOptions(("sgd",), steps=60, seeds=1, grid=1, starts=starts, **terms)
    return compare(problem.reseeded, options, 0, lambda stage: None)


def wells(params: Any, batch: Any) -> Any:
    """Lowest, at 0, for x = 1 and x = -1, with 1 between them."""
    return jnp.sum(batch) * jnp.sum((params["x"] ** 2 - 1.0) ** 2)


def beside(seed: int) -> Any:
    return {"x": jnp.asarray([1.5 if seed % 2 else -0.5])}


def test_between_two_wells_the_line_climbs_the_barrier_and_the_ends_lie_apart() -> None:
    found = compared(wells, beside)
    starts = found.starts
    assert starts is not None
    assert starts.seeds == (0, 1, 2)
    assert starts.losses == pytest.approx((0.0, 0.0, 0.0), abs=1e-6)
    by_seeds = {pair.seeds: pair for pair in starts.pairs}
    apart, same = by_seeds[0, 1], by_seeds[0, 2]
    assert apart.barrier == pytest.approx(1.0, abs=1e-3)
    assert apart.distance == pytest.approx(2.0, abs=1e-3)
    exact = [((2.0 * share - 1.0) ** 2 - 1.0) ** 2 for share in np.linspace(0.0, 1.0, 11)]
    assert apart.line == pytest.approx(exact, abs=1e-2)
    assert same.barrier == pytest.approx(0.0, abs=1e-6)
    assert same.distance == pytest.approx(0.0, abs=1e-3)
    assert any("crosses a barrier" in said and "no such permutation" in said for said in found.reasons)


def test_in_one_valley_there_is_no_barrier() -> None:
    def bowl(params: Any, batch: Any) -> Any:
        return jnp.sum(batch) * jnp.sum((params["x"] - 3.0) ** 2)

    found = compared(bowl, lambda seed: {"x": jnp.asarray([float(seed), 1.0])}, starts=2)
    assert any("That is no barrier" in said for said in found.reasons)


def test_params_that_are_given_have_one_start() -> None:
    found = compared(wells, beside, fixed=True)
    assert found.starts is not None
    assert found.starts.pairs == ()
    assert any("define `init(key)` to see where several starts end" in said for said in found.reasons)


def test_a_start_that_diverges_is_counted_and_left_out() -> None:
    found = compared(wells, lambda seed: {"x": jnp.asarray([0.5 if seed < 2 else 100.0])})
    assert found.starts is not None
    assert (found.starts.seeds, found.starts.diverged) == ((0, 1), 1)
    assert any("1 more diverged" in said for said in found.reasons)


def test_a_barrier_is_judged_by_what_training_lowered_the_loss_by() -> None:
    def said(scale: float, rise: float) -> str:
        pair = PairOfEnds((0, 1), 1.4, (0.0, rise * scale, 0.0), rise * scale)
        ends = SeveralStarts("adam", (0, 1), 1, scale, (0.0, 0.0), (pair,))
        return " ".join(of_starts(ends))

    for scale in (1e-9, 1.0, 1e9):
        assert "crosses a barrier" in said(scale, 0.06)
        assert "no barrier" in said(scale, 0.04)
