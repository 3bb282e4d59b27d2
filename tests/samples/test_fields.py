"""A sample for each use in the field: the fault of the sick one is real, and the first thing that is said."""

from __future__ import annotations

import math

import pytest

from tests.samples.expected import EXPECTED
from tests.samples.fields import PAIRS, SAMPLES, Pair, needed, trained

each_pair = pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.field)


@pytest.mark.few(2)
@each_pair
def test_a_plain_loop_trains_the_healthy_one_and_not_the_sick_one(pair: Pair) -> None:
    for framework in {*needed(pair.sick), *needed(pair.healthy)}:
        pytest.importorskip(framework)
    start, end = trained(pair.healthy, pair.measure)
    assert end < 0.6 * start
    _, stays = trained(pair.sick, pair.measure)
    assert not math.isfinite(stays) or start - stays < 0.5 * (start - end)


@each_pair
def test_a_pair_has_one_cause_in_the_table_of_what_is_expected(pair: Pair) -> None:
    assert EXPECTED[pair.healthy].verdict == "healthy"
    assert EXPECTED[pair.sick].rule or EXPECTED[pair.sick].warning


def test_the_index_has_a_row_for_each_field() -> None:
    rows = (SAMPLES / "README.md").read_text(encoding="utf-8").splitlines()
    for pair in PAIRS:
        assert any(f"| {pair.field} |" in row and pair.sick in row and pair.healthy in row for row in rows), (
            pair
        )
