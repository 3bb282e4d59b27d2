"""What goes with a target, beside SciPy's rank correlation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from gradscope.measure.leaks.association import association

RANDOM = np.random.default_rng(1)
X = RANDOM.standard_normal((200, 5))


def test_the_correlation_is_that_of_spearman() -> None:
    y = X[:, 2] + 3 * RANDOM.standard_normal(200)
    largest, by_chance = association(X, y)
    middle = np.abs(np.argsort(np.argsort(X, 0), 0) - 99.5)
    each = [spearmanr(column, y).statistic for column in (*X.T, *middle.T)]
    assert largest == pytest.approx(np.abs(each).max(), rel=1e-9)
    assert largest > by_chance


def test_what_is_random_goes_with_it_as_shuffled_targets_do() -> None:
    largest, by_chance = association(X, RANDOM.standard_normal(200))
    assert largest <= by_chance


@pytest.mark.parametrize("target", [X[:, 1] ** 2, np.digitize(X[:, 0], [-1.0, 0.0, 1.0]) % 3.0])
def test_curves_and_classes_are_seen(target: Any) -> None:
    largest, by_chance = association(X, target)
    assert largest > by_chance


def test_where_nothing_varies_there_is_none() -> None:
    assert np.isnan(association(np.ones((20, 3)), np.arange(20.0))[0])
    assert np.isnan(association(np.ones((20, 0)), np.arange(20.0))[0])
