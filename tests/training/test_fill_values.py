"""Numbers that stand for missing ones, and columns that only look as if they had some."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradscope.training.fill_values import fill_values

RNG = np.random.default_rng(0)
ROWS = 1000


def some(share: float = 0.1) -> Any:
    return RNG.random(ROWS) < share


def with_value(column: Any, value: float, share: float = 0.1) -> Any:
    return np.where(some(share), value, column)


NORMAL = RNG.normal(size=ROWS)
AGES = RNG.integers(18, 90, ROWS).astype(float)
MONEY = RNG.lognormal(8, 1.5, ROWS)
COUNTS = RNG.poisson(2, ROWS).astype(float)


def scaled(column: Any) -> Any:
    return (column - column.mean()) / column.std()


def logged(column: Any, epsilon: float) -> Any:
    return np.log10(column + epsilon)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (with_value(NORMAL, -9999), -9999),
        (with_value(AGES, 999), 999),
        (with_value(RNG.uniform(0, 4000, ROWS), 65535), 65535),
        (with_value(RNG.uniform(0, 4000, ROWS), -9999), -9999),
        (with_value(NORMAL, -1e6, 0.02), -1e6),
        (with_value(NORMAL, 1e20, 0.6), 1e20),
    ],
    ids=["-9999", "999 years", "65535", "raster", "-1e6", "1e20"],
)
def test_a_repeated_number_far_from_the_rest_is_found(column: Any, value: float) -> None:
    others = column[column != value]
    (found,) = fill_values(column[:, None], 1)
    assert (found.feature, found.value) == (0, value)
    assert found.share == np.mean(column == value)
    assert (found.lowest, found.highest, found.median) == (others.min(), others.max(), np.median(others))


@pytest.mark.parametrize("value", [-9999.0, 999.0, 65535.0, -1e6])
def test_it_is_found_after_it_was_standardized_with_the_rest(value: float) -> None:
    column = scaled(with_value(NORMAL, value)).astype(np.float32).astype(np.float64)
    (found,) = fill_values(column[:, None], 1)
    assert not found.is_whole
    assert found.distance > 100


def test_two_of_one_column_are_both_found() -> None:
    column = with_value(with_value(NORMAL, -9999), -8888)
    assert {each.value for each in fill_values(column[:, None], 1)} == {-9999, -8888}


def test_one_of_another_column_is_found_among_few_numbers() -> None:
    flags = with_value(RNG.integers(0, 2, ROWS).astype(float), -9999)
    both = np.stack([with_value(NORMAL, -9999), flags], 1)
    assert [each.feature for each in fill_values(both, 1)] == [0, 1]


def test_an_array_without_columns_is_looked_at_as_a_whole() -> None:
    (found,) = fill_values(with_value(NORMAL, -9999).reshape(10, 10, 10), None)
    assert found.feature is None


@pytest.mark.parametrize(
    "column",
    [
        COUNTS,
        np.where(some(0.9), 0.0, COUNTS),
        (COUNTS == 3).astype(float),
        RNG.integers(0, 2, ROWS) * 1000.0,
        np.full(ROWS, -9999.0),
        np.minimum(MONEY, 20_000.0),
        np.clip(NORMAL, -1, 1),
        np.minimum(AGES, 80),
        MONEY,
        np.round(MONEY, -2),
        np.where(some(0.4), 0.0, RNG.normal(50, 8, ROWS)),
        np.where(some(0.7), 0.0, RNG.uniform(1, 255, ROWS)),
        np.where(some(0.3), 255.0, RNG.uniform(0, 200, ROWS)),
        np.where(some(0.3), -1.0, RNG.integers(0, 500, ROWS)),
        np.where(some(), 99.0, AGES),
        RNG.choice([1.0, 10.0, 100.0, 1000.0], ROWS),
        logged(COUNTS, 1e-8),
        RNG.standard_cauchy(ROWS),
        with_value(NORMAL, -9999, 0.0005),
        np.where(np.arange(ROWS) == 7, -9999.0, NORMAL),
    ],
)
def test_columns_that_only_look_so_have_none(column: Any) -> None:
    assert fill_values(column[:, None], 1) == ()


def test_the_log_of_an_epsilon_is_not_surely_one() -> None:
    for epsilon in (1e-6, 1e-12, 1e-20, 1e-37):
        for log in (np.log, np.log2, np.log10):
            for found in fill_values(log(COUNTS + epsilon)[:, None], 1):
                assert not found.is_whole
                assert found.distance < 100
