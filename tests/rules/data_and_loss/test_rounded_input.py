"""rounded-input, on records: at its limit, and quiet without casts."""

from __future__ import annotations

import math

import pytest

from gradscope.records import Finding, RoundedInput, RoundedTrial
from gradscope.rules import Parts, judge
from tests.rules.made import source
from tests.rules.training.made import trained

LINE = source(6, "hours = hours.astype(jnp.bfloat16)")


def told(trial: RoundedTrial | None, name: str = "hours") -> Finding:
    rounded = RoundedInput(name, LINE, "bfloat16", 2048, 570, 1.36, trial)
    (found,) = judge(Parts(training=trained(rounded=(rounded,))), select=("rounded-input",))[0]
    return found


@pytest.mark.parametrize(
    ("trial", "severity"),
    [
        (None, "warning"),
        (RoundedTrial(100, 2.0, 1.11, 2.0, 1.0), "error"),
        (RoundedTrial(100, 2.0, 1.09, 2.0, 1.0), "note"),
        (RoundedTrial(100, 2.0, math.nan, 2.0, 1.0), "error"),
        (RoundedTrial(100, 2.0, 1.5, 2.0, math.nan), "note"),
        (RoundedTrial(100, 2.0, 3.0, 2.0, 2.1), "note"),
    ],
)
def test_what_exact_values_bring_decides(trial: RoundedTrial | None, severity: str) -> None:
    assert told(trial).severity.value == severity


def test_the_numbers_and_the_line_are_told() -> None:
    found = told(RoundedTrial(100, 2.0, 1.5, 1.9, 1.0))
    assert found.source == LINE
    assert "A cast to bfloat16 leaves 570 of 2,048 different numbers of `hours`." in found.message
    assert (
        "by 1.36 times their spread. 100 steps take the loss from 2 to 1.5, and with the exact"
        in found.message
    )
    assert "numbers. What" in told(None, name="").message


def test_without_casts_it_is_quiet() -> None:
    assert judge(Parts(training=trained()), select=("rounded-input",))[0] == ()
