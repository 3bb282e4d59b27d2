"""`clipped-gradient` on records: at its limits, what was tried, and over the steps of a longer training."""

from __future__ import annotations

from typing import Any

import pytest

from gradscope.records import ClippedStep, Finding, History, Severity
from gradscope.rules import Parts, judge
from tests.recording.made import history, step
from tests.rules.training.made import trained, tried


def clipped(factor: float = 4200.0, **fields: Any) -> ClippedStep:
    made = {"step": 0, "norm": 4.2, "share": 1.0, "kept_norm": 4.2 / factor, "proportional": False}
    return ClippedStep(factor=factor, **(made | fields))


def found(*steps: ClippedStep, seen: History | None = None, **fields: Any) -> list[Finding]:
    parts = Parts(training=trained(clipped=steps, **fields), history=seen)
    return [finding for finding in judge(parts)[0] if finding.rule == "clipped-gradient"]


def test_a_far_threshold_is_a_note_with_its_numbers() -> None:
    (finding,) = found(clipped(), clipped(2100.0, step=19, norm=2.1))
    assert finding.severity is Severity.NOTE
    assert "is 4.2, 4200 times what your optimizer lets through of it (0.001)" in finding.message
    assert "and 2100 times at step 20: only its direction is left" in finding.message
    assert finding.evidence["factor"] == 2100.0
    assert found() == []


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([clipped(100.0), clipped(100.0)], 1),
        ([clipped(99.0), clipped(500.0)], 0),
        ([clipped(500.0), clipped(99.0)], 0),
        ([clipped(share=0.5, kept_norm=None)] * 2, 1),
        ([clipped(share=0.49, kept_norm=None)] * 2, 0),
    ],
)
def test_at_the_limits(steps: list[ClippedStep], told: int) -> None:
    assert len(found(*steps)) == told


def test_elements_and_blocks_have_no_norm_in_common() -> None:
    (finding,) = found(clipped(share=0.75, kept_norm=None))
    assert (
        "the gradient is 4200 times what your optimizer lets through of it at 75% of the" in finding.message
    )
    assert "kept_norm" not in finding.evidence


SLOW = tried("none", 1.0, 1.99)


def test_larger_steps_that_were_tried_make_it_a_warning_that_speaks_for_the_rate() -> None:
    steps = clipped(proportional=True), clipped(proportional=True, step=19)
    longer = tried("none", 1.0, 1.98, steps=100), tried("factor", 1000.0, 0.5, steps=100)
    fields = {"trials": (SLOW, tried("factor", 1000.0, 1.0), *longer), "batches": 4}
    (finding,) = found(*steps, **fields)
    assert finding.severity is Severity.WARNING
    assert "from 2 to 1.99, and to 1 with 1000 times each update" in finding.message
    assert "learning-rate-too-low" in finding.message
    assert finding.remedy.startswith("Raise the threshold: at 1 each step is 1000 times as large")


@pytest.mark.parametrize(
    ("proportional", "factor", "end"),
    [
        (False, 1000.0, 1.0),  # Adam makes up for it
        (True, 10000.0, 1.0),  # more than the clipping took
        (True, 1000.0, 1.98),  # nothing gained
    ],
)
def test_what_a_higher_threshold_would_not_bring_stays_a_note(
    proportional: bool, factor: float, end: float
) -> None:
    steps = clipped(proportional=proportional), clipped(proportional=proportional, step=19)
    (finding,) = found(*steps, trials=(SLOW, tried("factor", factor, end)), batches=4)
    assert finding.severity is Severity.NOTE
    assert ("Each step is smaller by as much." in finding.message) is proportional
    assert ("a lower learning rate" in finding.remedy) is proportional


def norms(of: Any) -> History:
    return history(200, lambda t: step(t, loss=1.0 / (t + 1), norm=of(t)))


def test_over_steps_it_has_to_act_at_nearly_all_of_them() -> None:
    (finding,) = found(clipped(), clipped(step=2), seen=norms(lambda t: 1.0 if t >= 20 else 0.09))
    assert "So it is at 90% of 200 measured steps" in finding.message
    assert finding.evidence["share_of_steps"] == pytest.approx(0.9)
    assert found(clipped(), clipped(step=2), seen=norms(lambda t: 1.0 if t >= 21 else 0.09)) == []
    # in the first steps alone; and where the norm does not say how much is let through
    assert found(clipped(), clipped(step=2), seen=norms(lambda t: 4.0 if t < 10 else 0.01)) == []
    assert found(clipped(kept_norm=None), clipped(kept_norm=None), seen=norms(lambda t: 4.0)) == []
