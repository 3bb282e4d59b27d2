"""unstable-learning-rate: by what is known of the optimizer alone, a warning where the loss rises."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gradscope.records import CriticalStep, Curvature, Eigenvalue, Finding, OwnRate, Severity
from gradscope.rules import Parts, judge

POINT = Curvature(
    parameters=10,
    left_out=0,
    batches=1,
    dtype="float32",
    loss=2.0,
    gradient_norm=1.0,
    largest=Eigenvalue(8.0, 0.01, True),
    own=OwnRate("proportional", 0.5, 0.0, 4.0),
    critical=CriticalStep("your optimizer", 1.0, 0.4, 0.5),
)


def found(**changes: object) -> list[Finding]:
    point = replace(POINT, **changes)  # type: ignore[arg-type]
    return [*judge(Parts(curvature=point))[0]]


def test_it_is_a_warning_where_the_first_update_raises_the_loss() -> None:
    (finding,) = found()
    assert finding.severity is Severity.WARNING
    assert "raises the loss by 1, from 2, as measured" in finding.message
    assert "below 0.25" in finding.remedy
    assert finding.evidence["ratio"] == 2


def test_it_is_a_note_where_it_does_not() -> None:
    (finding,) = found(critical=CriticalStep("your optimizer", -1.0, 2.0, 2.5))
    assert finding.severity is Severity.NOTE


def test_it_is_a_note_where_the_update_was_not_tried() -> None:
    (finding,) = found(critical=None)
    assert finding.severity is Severity.NOTE
    assert "as measured" not in finding.message


@pytest.mark.parametrize(
    "changes",
    [
        {"largest": Eigenvalue(3.9, 1.0, True)},
        {"largest": None},
        {"own": None},
        {"own": OwnRate("fixed", 1e-3, reason="as Adam's")},
        {"largest": Eigenvalue(-1.0, 0.1, True)},
    ],
)
def test_nothing_is_said_below_it_or_where_it_is_not_known(changes: dict[str, object]) -> None:
    assert not found(**changes)
