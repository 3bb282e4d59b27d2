"""`ascending-update`, `invisible-update` and `not-updated` at their limits, and where they stay silent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gradscope.records import Finding, LeafUpdate
from gradscope.rules import Parts, judge
from tests.rules.training.made import leaf, trained, tried


def found(*leaves: LeafUpdate, **fields: Any) -> list[Finding]:
    return list(judge(Parts(training=trained(*leaves, **fields)))[0])


def test_a_gradient_that_is_passed_on_is_an_error_whatever_the_loss_does() -> None:
    (finding,) = found(leaf("body.w", ascent=1.0, raw=True), leaf("head.w"))
    assert (finding.rule, finding.severity.value) == ("ascending-update", "error")
    assert (finding.parameter, finding.evidence["parameters"]) == ("body.w", 1)


def test_all_that_ascends_is_an_error_where_turning_it_round_is_the_cure() -> None:
    up = leaf("body.w", ascent=0.4), leaf("head.w", ascent=0.011)
    assert found(*up, end=2.4, trials=(tried("factor", -1.0, 1.7),))[0].severity.value == "error"
    assert found(*up, end=2.4, trials=(tried("factor", -1.0, 2.2),))[0].severity.value == "warning"
    assert found(*up, end=1.9)[0].severity.value == "warning"


def test_a_part_that_ascends_may_be_meant() -> None:
    (finding,) = found(leaf("actor.w"), leaf("log_alpha", ascent=1.0, size=1, raw=True))
    assert (finding.severity.value, finding.parameter) == ("warning", "log_alpha")


def test_descent_at_the_limit() -> None:
    assert found(leaf(ascent=0.01), leaf("head.w")) == []
    assert found(leaf(ascent=None), leaf("head.w")) == []


def test_updates_are_lost_where_most_elements_keep_their_bits() -> None:
    lost = leaf("body.w", dtype="bfloat16", unchanged_share=0.96, arrived_share=0.08)
    master = tried("master-weights", 1.0, 1.5)
    (finding,) = found(lost, trials=(tried("none", 1.0, 1.99), master))
    assert (finding.rule, finding.severity.value) == ("invisible-update", "error")
    assert "to 1.5 with the weights kept in float32" in finding.message
    assert found(lost, trials=(tried("none", 1.0, 1.6), master))[0].severity.value == "warning"
    for healthy in (
        {"unchanged_share": 0.5},
        {"arrived_share": 0.5},
        {"gradient": False},
        {"dtype": "float32"},
    ):
        assert found(replace(lost, **healthy)) == []


def test_a_small_leaf_or_a_warm_up_is_no_finding() -> None:
    lost = leaf("norm.scale", size=10, unchanged_share=1.0, arrived_share=0.0)
    assert found(lost, leaf("body.w")) == []
    assert found(leaf(unchanged_share=1.0, arrived_share=0.0), growth=50.0) == []


def test_nothing_moves() -> None:
    still = leaf(moved=False, ascent=None)
    (finding,) = found(still, moves_at=None, still_steps=1000, update_max=0.0)
    assert (finding.rule, finding.evidence["steps"]) == ("not-updated", 1020)
    # too large a model to try that many
    assert found(still, moves_at=None, still_steps=18, update_max=0.0)[0].severity.value == "note"
    # a warm-up or accumulated gradients: a later step moves it
    assert found(still, moves_at=50, still_steps=1000, update_max=0.0) == []
    # nothing to move it by
    assert found(leaf(moved=False, gradient=False, ascent=None), moves_at=None, update_max=0.0) == []


def test_a_restored_state_at_its_limit() -> None:
    assert found(restored=True, update_max=0.9e-6)[0].rule == "not-updated"
    assert found(restored=True, update_max=1.1e-6) == []
    assert found(restored=False, update_max=0.9e-6) == []


def test_what_is_held_is_a_note() -> None:
    (finding,) = found(leaf("body.w", moved=False, ascent=None), leaf("head.w"))
    assert (finding.severity.value, finding.evidence["held"]) == ("note", 1)


def test_adam_in_the_place_of_an_optimizer_is_not_judged() -> None:
    assert found(leaf(ascent=1.0, raw=True), own=False) == []
    assert found(leaf(moved=False), own=False, moves_at=None) == []
