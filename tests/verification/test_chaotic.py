"""On a path along which rounding grows nothing is called wrong, and the growth is said."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.custom_derivatives import linear_call

from gradscope.load.problem import Problem
from tests.verification.made import RIGHT, UNSURE, WRONG, run

START = np.linspace(0.1, 0.9, 5).astype(np.float32)


def logistic_map(steps: int, rate: float = 3.9, *, transposed: float = 1.0) -> Problem:
    """Chaotic at a rate of 3.9, where a distance grows by a factor of e in two steps."""

    def given(rate: Any) -> Any:
        return linear_call(lambda _, x: x, lambda _, ct: transposed * ct, (), rate)

    def loss_fn(params: Any, batch: Any) -> Any:
        def step(x: Any, _: Any) -> Any:
            return given(params["rate"]) * x * (1.0 - x), None

        return jnp.mean(lax.scan(step, batch, None, steps)[0])

    return Problem(loss_fn, {"rate": np.array([rate], np.float32)}, START)


@pytest.mark.parametrize("steps", [45, 60, 200])
def test_a_chaotic_path_cannot_be_judged_and_says_how_rounding_grows(steps: int) -> None:
    found = run(logistic_map(steps))
    assert {check.verdict for check in found.gradients} <= {RIGHT, UNSURE}
    assert found.transposition.verdict in (RIGHT, UNSURE)
    if found.transposition.verdict is UNSURE:
        assert "the size of rounding has grown" in found.transposition.reason


def test_a_long_stable_path_is_right() -> None:
    found = run(logistic_map(200, 2.9))
    assert [check.verdict for check in found.gradients] == [RIGHT]
    assert found.transposition.verdict is RIGHT


@pytest.mark.parametrize("steps", [3, 20, 40])
def test_a_wrong_transpose_is_wrong_on_a_chaotic_path_too(steps: int) -> None:
    found = run(logistic_map(steps, transposed=1.5))
    assert found.transposition.verdict is WRONG
