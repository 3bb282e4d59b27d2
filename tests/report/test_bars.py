"""Bars and sparklines: decay must be seen, and nothing may raise."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, strategies as st

from gradscope.report.shared.bars import LinearScale, bar, cells, scale_of, sparkline
from gradscope.report.shared.glyphs import ASCII, UNICODE

ANY_FLOAT = st.floats() | st.none()


def test_a_factor_of_ten_is_the_same_length_everywhere() -> None:
    scale = scale_of([1e-8, 1.0])
    lengths = [len(bar(10.0**-power, scale, 8, UNICODE)) for power in range(9)]
    assert lengths == [8, 7, 6, 5, 4, 3, 2, 1, 1]


def test_a_level_network_looks_level() -> None:
    values = [0.020, 0.025, 0.03]
    assert all(len(bar(value, scale_of(values), 10, UNICODE)) == 10 for value in values)


def test_zero_is_empty_and_the_smallest_value_is_not() -> None:
    scale = scale_of([1e-30, 1.0])
    assert bar(0.0, scale, 10, UNICODE) == ""
    assert bar(None, scale, 10, UNICODE) == ""
    assert bar(1e-30, scale, 10, UNICODE) == "▏"
    assert bar(1e-30, scale, 10, ASCII) == "-"


def test_what_is_not_finite_is_marked() -> None:
    assert bar(math.nan, None, 3, UNICODE) == "xxx"
    assert sparkline([1.0, math.inf, 1e-3], 10, UNICODE) == "█x▁"


def test_a_long_sequence_is_squeezed_and_keeps_its_ends() -> None:
    curve = sparkline([10.0**-t for t in range(80)], 16, UNICODE)
    assert len(curve) == 16
    assert (curve[0], curve[-1]) == ("█", "▁")
    assert sorted(curve, reverse=True) == list(curve)


def test_one_broken_step_among_many_is_seen() -> None:
    assert sparkline([1.0] * 500 + [math.nan] + [1.0] * 500, 20, UNICODE).count("x") == 1


@given(st.lists(ANY_FLOAT, max_size=40), st.integers(min_value=-5, max_value=60))
def test_no_list_of_numbers_raises(values: list[float | None], width: int) -> None:
    scale = scale_of(values)
    for value in values:
        assert len(bar(value, scale, max(1, width), UNICODE)) <= max(1, width)
    assert len(sparkline(values, width, ASCII)) == min(len(values), max(1, width))


@pytest.mark.parametrize("values", [[], [0.0], [None], [math.nan]])
def test_there_is_no_scale_without_a_positive_number(values: list[float | None]) -> None:
    assert scale_of(values) is None


def test_zero_is_a_height_on_a_linear_scale_and_a_mark_on_a_log_scale() -> None:
    values = [0.0, 1.0, None, math.nan]
    assert cells(values, LinearScale(0.0, 1.0), ASCII) == [("_#", "bar"), (" ", ""), ("x", "bad")]
    assert cells(values, scale_of(values), ASCII) == [("0", "strong"), ("#", "bar"), (" ", ""), ("x", "bad")]
    assert cells([0.0, 0.0], None, UNICODE) == [("00", "strong")]
    assert cells([2.0, 2.0], LinearScale(2.0, 2.0), ASCII) == [("==", "bar")]


@given(st.lists(ANY_FLOAT, max_size=40))
def test_there_is_a_character_for_each_value(values: list[float | None]) -> None:
    for scale in (scale_of(values), LinearScale(-1.0, 2.0)):
        assert len("".join(text for text, _ in cells(values, scale, UNICODE))) == len(values)
