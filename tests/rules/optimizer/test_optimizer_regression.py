"""`optimizer-regression`: what counts as lost since the saved run."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from gradscope.records import Comparison, Finding
from gradscope.rules import Parts, judge
from gradscope.rules.optimizer.saved_run import lost
from tests.report.canned import compared


def ended(final: float, spread: float = 0.0, **more: Any) -> Comparison:
    """The canned comparison (start 2), with the user's optimizer at another final loss."""
    found = compared().optimizers
    assert found is not None
    rows = tuple(
        replace(row, final_loss=final, final_low=final - spread / 2, final_high=final + spread / 2)
        if row.name == "yours"
        else row
        for row in found.contestants
    )
    return replace(found, contestants=rows, **more)


def found(now: Comparison, before: Comparison, **limits: float) -> list[Finding]:
    given = {"optimizer-regression": limits} if limits else None
    return list(judge(Parts(optimizers=now, saved=before), limits=given)[0])


def share(now: Comparison, before: Comparison) -> float:
    change = lost(now, before)
    assert change is not None
    return change.share


def test_it_fires_above_the_limit_and_not_below() -> None:
    (finding,) = found(ended(1.06), ended(1.0))
    assert finding.rule == "optimizer-regression"
    assert finding.message.endswith("6.0% of its improvement lost. More than the limit of 5%.")
    assert finding.evidence["lost"] == pytest.approx(0.06)
    assert finding.evidence["saved_final_loss"] == 1.0
    assert found(ended(1.04), ended(1.0)) == []
    assert found(ended(1.04), ended(1.0), lost=0.03)


def test_what_lies_within_the_spread_of_the_seeds_is_no_change() -> None:
    assert found(ended(1.06, spread=0.1), ended(1.0)) == []
    assert found(ended(1.06), ended(1.0, spread=0.1)) == []


def test_what_diverges_now_is_found_and_what_diverged_before_had_nothing_to_lose() -> None:
    assert "it diverges" in found(ended(math.inf), ended(1.0))[0].message
    assert found(ended(math.inf), ended(math.inf)) == []
    assert share(ended(1.0), ended(math.inf)) == 0.0


def test_a_run_that_had_not_improved_loses_all_by_getting_worse() -> None:
    assert share(ended(2.5), ended(2.0)) == math.inf
    assert share(ended(1.5), ended(2.0)) == -math.inf


def test_a_run_that_starts_from_another_loss_is_told_from_one_that_got_worse() -> None:
    other, same = (
        lost(ended(10.0, initial_loss=20.0), ended(1.0)),
        lost(ended(1.5, initial_loss=2.0001), ended(1.0)),
    )
    assert other is not None
    assert other.text.startswith("The loss starts at 20, in the saved run at 2: ")
    assert "batch size" in other.text
    assert same is not None
    assert same.text.startswith("The training loss of your optimizer ended at 1 ")


def test_without_an_optimizer_of_the_user_or_a_saved_run_it_says_nothing() -> None:
    assert found(ended(9.0, users=None), ended(1.0)) == []
    assert judge(Parts(optimizers=ended(9.0)))[0] == ()
