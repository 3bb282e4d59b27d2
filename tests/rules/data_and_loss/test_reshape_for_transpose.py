"""reshape-for-transpose: what is told of a reshape that was meant to move an axis."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gradscope.records import (
    BatchLeak,
    BatchMix,
    Finding,
    Objective,
    ReshapedAxes,
    Severity,
    Structure,
    TriedVariant,
)
from gradscope.rules import Parts, judge
from tests.rules.made import layer, measured, source
from tests.rules.training.made import trained

RULE = "reshape-for-transpose"
HEADS = ReshapedAxes(
    source=source(9),
    layer="q",
    shape=(8, 16, 32),
    result=(8, 4, 16, 8),
    axis=1,
    to=2,
    axes=1,
    places=16,
    mixed=4,
    split=True,
    written="jnp.moveaxis(x.reshape(8, 16, 4, 8), 2, 1)",
)
SWAP = replace(HEADS, layer=None, shape=(20, 30), result=(30, 20), axis=0, to=1, places=20, split=False)
BETTER = TriedVariant(100, start_without=2.7, end_without=0.6, start=2.8, end=0.02)
LEAK = BatchLeak(BatchMix.RESHAPE, source(9), None, (20, 30), 0, result=(30, 20), change=0.2, largest=0.9)


def told(
    *reshapes: ReshapedAxes, tried: TriedVariant | None = None, leaks: Any = (), rule: str = RULE
) -> list[Finding]:
    measurement = measured(
        [layer("q", 1)],
        structure=Structure(reshapes=reshapes, transposed=tried),
        objective=Objective(batch_leaks=leaks),
    )
    findings, _ = judge(Parts(measurement, training=trained()), select=(rule,))
    return list(findings)


def test_nothing_is_told_of_none() -> None:
    assert told() == []


def test_what_trains_clearly_better_exchanged_is_an_error_with_all_four_losses() -> None:
    (finding,) = told(HEADS, replace(HEADS, layer="k"), tried=BETTER)
    assert (finding.severity, finding.layer, finding.source) == (Severity.ERROR, "q", source(9))
    assert "turns (8, 16, 32) into (8, 4, 16, 8)" in finding.message
    assert "a place along axis 2 of the result holds elements of up to 4 of the 16 places" in finding.message
    assert "1 more reshape does the same. With the axes exchanged, 100 steps" in finding.message
    assert "from 2.8 to 0.02; as it is, from 2.7 to 0.6" in finding.message
    assert finding.remedy == f"Exchange the axes: `{HEADS.written}`."


@pytest.mark.parametrize(
    ("reshape", "tried", "severity"),
    [
        (HEADS, replace(BETTER, end=0.5), Severity.NOTE),
        (HEADS, None, Severity.WARNING),
        (SWAP, None, Severity.NOTE),
        (SWAP, BETTER, Severity.ERROR),
    ],
)
def test_what_was_not_tried_or_is_no_better_is_no_error(
    reshape: ReshapedAxes, tried: TriedVariant | None, severity: Severity
) -> None:
    (finding,) = told(reshape, tried=tried)
    assert finding.severity is severity


def test_one_line_is_told_by_one_rule() -> None:
    assert told(SWAP, leaks=(LEAK,)) == []
    assert len(told(SWAP, leaks=(LEAK,), rule="batch-leak")) == 1
    assert len(told(SWAP, leaks=(LEAK,), tried=BETTER)) == 1
    assert told(SWAP, leaks=(LEAK,), tried=BETTER, rule="batch-leak") == []


@pytest.mark.parametrize(
    ("start_without", "end_without", "start", "end", "better"),
    [
        (3.0, 2.8, 3.0, 1.0, True),
        (3.0, 2.1, 3.0, 1.0, True),  # at the limit
        (3.0, 1.9, 3.0, 1.0, False),
        (3.0, 0.2, 3.0, 0.02, True),
        (3.0, 0.1, 3.0, 0.02, False),  # too near to each other
        (3.0, -2.0, 3.0, -5.0, False),  # the floor is not known
        (3.0, -0.9, 3.0, -5.0, True),
        (9.0, 1.0, 3.0, 1.0, False),
        (3.0, float("nan"), 3.0, 1.0, True),
        (3.0, 2.0, 3.0, float("nan"), False),
        (3.0, 3.5, 3.0, 3.1, False),
        (7.28, 3.53, 1.0, 1.0 - 1e-6, False),  # the other one is constant
        (1.0, 1.0, 1.0, 0.995, False),
        (7.28, 3.53, 1.0, 0.7, False),  # in other units, and no better in its own
        (50.0, 8.0, 2.3, 0.1, True),
        (3.0, 1.0, -5.0, -5.02, False),
        (float("inf"), 9.0, 2.3, 0.1, True),
    ],
)
@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e6])
def test_clearly_better_at_any_scale(
    start_without: float, end_without: float, start: float, end: float, better: bool, scale: float
) -> None:
    ends = (scale * each for each in (start_without, end_without, start, end))
    assert TriedVariant(100, *ends).better is better
