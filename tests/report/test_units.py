"""Numbers for people."""

from __future__ import annotations

import math

import pytest

from gradscope.report.shared import units
from gradscope.rules import words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0"),
        (-0.0, "0"),
        (0.5, "0.5"),
        (0.031250001, "0.0313"),
        (999.4, "999"),
        (1234.5, "1230"),
        (99_999.0, "100000"),
        (123_456.0, "1.23e+05"),
        (1.2e-7, "1.2e-07"),
        (5e-324, "4.94e-324"),
        (math.nan, "NaN"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
    ],
)
def test_a_number_has_three_digits(value: float | None, text: str) -> None:
    assert units.number(value) == text


@pytest.mark.parametrize(
    "value", [0.0, -0.0, 0.5, 0.031250001, 999.6, 1234.5, 99_999.0, 1e5, 1.2e-7, 3e300, -2.5]
)
def test_the_table_and_the_messages_of_rules_agree(value: float) -> None:
    assert units.number(value) == words.number(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.500"), (0.0, "0"), (3e-9, "3.00e-09"), (100.0, "100"), (1234.5, "1230"), (None, "-")],
)
def test_a_cell_keeps_its_trailing_zeros(value: float | None, text: str) -> None:
    assert units.cell(value) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0"),
        (4160, "4,160"),
        (9_999_999, "9,999,999"),
        (10_000_000, "10M"),
        (86_400_000, "86.4M"),
        (999_600_000, "1B"),
        (7_240_000_000, "7.24B"),
        (1_500_000_000_000, "1.5T"),
    ],
)
def test_a_count_is_exact_until_it_is_too_long(amount: int, text: str) -> None:
    assert units.count(amount) == text


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (None, "-"),
        (0.0, "0%"),
        (1e-9, "<1%"),
        (0.25, "25%"),
        (0.9999, ">99%"),
        (1.0, "100%"),
        (math.nan, "NaN"),
    ],
)
def test_a_share_is_0_or_100_percent_only_where_it_is(part: float | None, text: str) -> None:
    assert units.share(part) == text


@pytest.mark.parametrize(
    ("duration", "text"), [(0.0123, "12 ms"), (0.42, "0.4 s"), (59.5, "59.5 s"), (125.0, "2 min 5 s")]
)
def test_a_duration_has_the_unit_that_fits(duration: float, text: str) -> None:
    assert units.seconds(duration) == text


def test_one_is_singular() -> None:
    assert (units.counted(1, "layer"), units.counted(2000, "layer")) == ("1 layer", "2,000 layers")
