"""Credit through time in words, at any width, and in every format for people."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from gradscope.records import Measurement, StateJacobian, StateMemory, Truncation
from gradscope.report.html.page import fragment
from gradscope.report.shared.through_time import losing, row_groups, sentences, truncation_sentence
from tests.report.canned import healthy, through_time
from tests.report.pages import shown

FLOW = through_time().flow
assert isinstance(FLOW, Measurement)
LOOP, EXPLODING = FLOW.time_credit


def said(memory: StateMemory) -> list[str]:
    return list(sentences(replace(LOOP, memories=(memory,))))


def test_how_far_credit_reaches() -> None:
    (text,) = said(StateMemory(1, 29, tuple(0.6 ** (29 - step) for step in range(30)), 10))
    assert text == (
        "Through the state credit reaches back 10 steps: the gradient that arrives at it in step 30 of 30, "
        "followed back through the recurrence alone, is below 1% of what it was in step 20 and before."
    )


def test_credit_that_reaches_the_first_step_and_what_is_left_of_it() -> None:
    (text,) = said(StateMemory(2, 2, (0.5, 0.8, 1.0), None))
    assert text.startswith("Through the state (2 arrays that feed each other) credit reaches the first step")
    assert text.endswith("50% is left there.")
    (text,) = said(StateMemory(1, 1, (3e20, 1.0), None))
    assert text.endswith("alone, is 3e+20 times as large there.")
    assert said(StateMemory(1, 2, (math.nan, math.inf, 1.0), None))[0].endswith("is not finite in step 2.")


def test_what_is_no_more_than_about_right_is_told_as_such() -> None:
    exact = StateJacobian(0, 0.61, 1.2, 8, exact=True)
    told = said(StateMemory(1, 1, (1.0, 1.0), None, (exact, replace(exact, step=1))))[1]
    assert told == (
        "Recurrent Jacobian of the state (the largest of 8 rows that do not read each other): spectral "
        "radius 0.61 at step 1, 0.61 at step 2; largest singular value 1.2, 1.2."
    )
    about = replace(exact, exact=False, rows=None, largest_singular_value=None)
    told = said(StateMemory(1, 1, (1.0, 1.0), None, (about,)))[1]
    assert told == "Recurrent Jacobian of the state: spectral radius about 0.61 at step 1."


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "Cut every 10 steps, backpropagation through time misses the gradient by 6%."),
        (
            {"cosine": 0.7},
            "Cut every 10 steps, backpropagation through time misses the gradient by 6% (cosine to the whole "
            "one 0.7).",
        ),
        (
            {"steps": 1, "lost": 3.2, "cosine": -0.5},
            "Cut at every step, backpropagation through time misses the gradient by 320% (cosine to the "
            "whole one -0.5).",
        ),
        (
            {"lost": 3e7},
            "Cut every 10 steps, backpropagation through time misses the gradient by 3e+07 times.",
        ),
        ({"lost": 0.0}, "Cut every 10 steps, backpropagation through time loses nothing of the gradient."),
    ],
)
def test_what_truncation_loses(fields: dict[str, Any], text: str) -> None:
    usual: dict[str, Any] = {"steps": 10, "lost": 0.055, "cosine": 0.9998, "parameters": ()}
    assert truncation_sentence(Truncation(**{**usual, **fields})) == text


def test_parameters_that_lose_most_stand_first_and_those_that_lose_nothing_not_at_all() -> None:
    assert FLOW.truncation is not None
    assert [each.lost for each in losing(FLOW.truncation)] == [1.0, 0.08]


def test_the_largest_share_counts_whatever_its_sign_and_none_is_told_of_a_zero_gradient() -> None:
    (_, contributions, _) = row_groups(LOOP)
    assert [row.largest for row in contributions.rows] == ["57% at step 30", ""]
    first = LOOP.contributions[0]
    against = replace(first, shares=(-3.0, *first.shares[1:]))
    (_, contributions, _) = row_groups(replace(LOOP, contributions=(against,)))
    assert contributions.rows[0].largest == "-300% at step 1"


@pytest.mark.parametrize("name", ["terminal", "markdown", "html"])
def test_every_format_for_people_tells_it(name: str) -> None:
    text = shown(through_time(), name=name, width=200)
    for part in ("credit over 30 time steps", "Recurrent Jacobian", "misses the gradient by 6%"):
        assert part in text
    assert "credit" not in shown(healthy(), name=name, width=200)


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_heights_of_one_kind_begin_and_end_in_the_same_column(width: int) -> None:
    lines = shown(through_time(), width=width, show_all=True).splitlines()
    first, last = (
        lines.index(f"  {title}") for title in ("δ of each layer", "contribution to each gradient")
    )
    rows = [line for line in lines[first:last] if "█" in line]
    assert len(rows) == 2
    assert len({line.index("█") for line in rows}) == 1


def test_a_picture_has_a_cell_for_each_step_and_a_cross_where_a_number_is_not_finite() -> None:
    page = fragment(through_time())
    (_, credit) = page.split("Credit through time", 1)
    assert credit.count("<figure") == 5
    assert "step 30: 0.35" in credit
    assert 'class="broken"' in credit
    assert "<bdi" in credit
