"""The oracle itself: it must notice a loss, a gradient or a perturbation that is not the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.trace import oracle
from tests.trace.equations import same_equations
from tests.trace.oracle import BATCH, TWO, agreeing, loss_of_two


def test_a_loss_that_differs_by_more_than_its_last_bits_is_noticed() -> None:
    factors = iter([1.0, 1 + 4 * float(np.finfo(np.float32).eps)])
    with pytest.raises(AssertionError):
        agreeing(lambda p, b: loss_of_two(p, b) * next(factors), TWO, BATCH)


def test_an_equation_more_is_noticed() -> None:
    losses = iter([loss_of_two, lambda p, b: loss_of_two(p, b) * 1.0])
    with pytest.raises(AssertionError):
        same_equations(lambda p, b: next(losses)(p, b), TWO, BATCH)


def test_a_gradient_that_differs_is_noticed() -> None:
    factors = iter([1.0, 1.001])

    def loss(p: Any, b: Any) -> Any:
        value = loss_of_two(p, b)
        return value + (next(factors) - 1) * (p["first"]["b"].sum() - TWO["first"]["b"].sum())

    with pytest.raises(AssertionError, match=r"first\.b"):
        agreeing(loss, TWO, BATCH)


def test_a_perturbation_is_felt_where_it_is_added() -> None:
    slow = oracle.deltas(lambda p, b, bump: bump("loss", loss_of_two(p, b)), TWO, BATCH)
    assert oracle.norm(slow["loss"]) == 1
