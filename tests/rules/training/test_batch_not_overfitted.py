"""`batch-not-overfitted`: at its limit, and what it leaves to others."""

from __future__ import annotations

import pytest

from gradscope.records import Finding, OneBatch
from gradscope.report.shared.training import sentence
from gradscope.rules import Parts, judge
from tests.rules.training.made import leaf, trained


def found(start: float, end: float, *, asked: bool = True, **fields: object) -> list[Finding]:
    alone = OneBatch(200, start, end, asked)
    return list(judge(Parts(training=trained(one_batch=alone, **fields)))[0])


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_fall_of_a_twentieth_is_the_limit(scale: float) -> None:
    (finding,) = found(2.0 * scale, 1.91 * scale)
    assert (finding.rule, finding.severity.value) == ("batch-not-overfitted", "warning")
    assert found(2.0 * scale, 1.89 * scale) == []


def test_a_loss_below_zero_falls_as_well() -> None:
    assert found(-2.0, -2.2) == []
    assert found(-2.0, -2.05) != []
    assert found(-2.0, -2.05, asked=False) == []


def test_unasked_it_is_a_note() -> None:
    (finding,) = found(2.0, 2.0, asked=False)
    assert finding.severity.value == "note"


def test_it_gives_way_to_its_cause_and_to_a_warm_up() -> None:
    (cause,) = found(2.0, 2.0, leaves=(leaf(moved=False),), update_max=0.0, moves_at=None, still_steps=1000)
    assert cause.rule == "not-updated"
    assert found(2.0, 2.0, growth=10.0, asked=False) == []
    assert found(2.0, 2.0, own=False) == []


def test_the_sentence_of_the_training_tells_the_end() -> None:
    text = sentence(trained(batches=4, one_batch=OneBatch(200, 2.0, 0.01, True)))
    assert "200 steps on that batch alone end at 0.0100." in text
