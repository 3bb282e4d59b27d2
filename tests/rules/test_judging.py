"""Choosing rules, their limits, their order, and what is told of symptoms."""

from __future__ import annotations

import math

import pytest

from gradscope import rules
from gradscope.errors import GradscopeError
from gradscope.records import Connection, Measurement, Severity, Verification
from gradscope.rules import Parts, all_rules, get, judge as judge_parts, judging, left_out
from gradscope.rules.base import Hit
from gradscope.rules.judging import _without_symptoms
from gradscope.rules.words import names_of, number
from tests.rules.activations.made import another_start
from tests.rules.made import chain, decay, judge, layer, measured, parameter
from tests.rules.training.made import trained

NAMES = [
    "dead-units",
    "exploding-activations",
    "saturated-units",
    "vanishing-activations",
    "changed-profile",
    "hand-made-gradient",
    "unverifiable-gradient",
    "wrong-gradient",
    "attention-collapse",
    "batch-leak",
    "broadcast-loss",
    "categories-as-numbers",
    "collapsed-representations",
    "conflicting-tasks",
    "constant-data",
    "constant-output",
    "dropout-too-high",
    "empty-attention-row",
    "future-leak",
    "hidden-past",
    "ignored-input",
    "imbalanced-labels",
    "index-out-of-range",
    "leaked-target",
    "linear-network",
    "misdirected-credit",
    "mismatched-output",
    "missing-bias",
    "missing-positions",
    "normalized-away",
    "one-key-attention",
    "padding-leak",
    "repeated-noise",
    "reshape-for-transpose",
    "returned-messages",
    "rounded-input",
    "sorted-batches",
    "unbalanced-experts",
    "unbalanced-loss-terms",
    "unexpected-initial-loss",
    "unnormalized-input",
    "unscaled-attention",
    "unscaled-target",
    "wrong-attention-axis",
    "wrong-mode",
    "cost-over-limit",
    "diverged-replicas",
    "frozen-shard",
    "local-norm",
    "memory-over-limit",
    "scaled-gradient",
    "shard-dependent-loss",
    "shared-noise",
    "summed-loss",
    "unreduced-shard",
    "exploding-gradient",
    "exploding-through-time",
    "missing-residual",
    "state-not-carried",
    "vanishing-gradient",
    "vanishing-through-time",
    "copied-initialization",
    "mis-scaled-initialization",
    "symmetric-units",
    "blocked-gradient",
    "dead-loss-term",
    "disconnected-parameter",
    "partly-dead-weights",
    "zero-gradient",
    "isolated-branch",
    "non-finite",
    "precision-loss",
    "unstable-expression",
    "ascending-update",
    "clipped-gradient",
    "decayed-norm",
    "invisible-update",
    "mismatched-betas",
    "not-updated",
    "optimizer-regression",
    "undecayed-weights",
    "weight-decay-too-high",
    "width-dependent-updates",
    "batch-not-overfitted",
    "broken-train-step",
    "decayed-learning-rate",
    "discarded-result",
    "diverging-loss",
    "learning-rate-too-high",
    "learning-rate-too-low",
    "loss-not-decreasing",
    "loss-spike",
    "lost-gradient",
    "lost-state",
    "noisy-gradient",
    "non-finite-update",
    "oscillating-loss",
    "overfitting",
    "plateau",
    "unstable-learning-rate",
]


def test_a_rule_without_what_it_needs_has_not_judged():
    flow = Parts(flow=chain([1.0] * 4))
    plain = judging(flow)
    assert "vanishing-gradient" in plain
    assert not {"wrong-gradient", "unverifiable-gradient", "changed-profile"} & set(plain)
    assert judging(Parts(gradients=Verification(1.0, ()))) == ("unverifiable-gradient", "wrong-gradient")
    assert judging(flow, select=("zero-gradient",)) == ("zero-gradient",)
    assert "zero-gradient" not in judging(flow, ignore=("zero-gradient",))


def test_a_rule_is_left_out_where_it_could_have_judged_and_was_not_asked():
    flow = Parts(flow=chain([1.0] * 4))
    assert left_out(flow) == ()
    assert left_out(flow, ignore=("non-finite", "wrong-gradient")) == ("non-finite",)
    assert len(left_out(flow, select=("non-finite",))) == len(judging(flow)) - 1


def test_the_rules_are_these_in_this_order():
    assert [rule.name for rule in all_rules()] == NAMES


def test_every_cause_that_a_rule_names_is_a_rule():
    assert {cause for rule in all_rules() for cause in rule.symptom_of} <= set(NAMES)


@pytest.mark.parametrize(
    ("typed", "meant"), [("vanishing_gradient", "vanishing-gradient"), ("nonfinite", "non-finite")]
)
def test_an_unknown_rule_names_the_nearest(typed, meant):
    with pytest.raises(GradscopeError, match=meant) as raised:
        get(typed)
    assert raised.value.exit_code == 2
    assert repr(typed) in raised.value.what


@pytest.mark.parametrize("how", ["select", "ignore"])
def test_unknown_names_are_errors_in_either_list(how):
    with pytest.raises(GradscopeError):
        judge(Measurement(1.0, (), ()), **{how: ("no-such-rule",)})


@pytest.mark.parametrize(
    "limits",
    [
        {"no-such-rule": {"ratio": 1.0}},
        {"vanishing-gradient": {"rato": 1.0}},
        {"vanishing-gradient": {"ratio": math.nan}},
        {"vanishing-gradient": {"ratio": 0.0}},
    ],
)
def test_limits_that_cannot_be_used_are_errors(limits):
    with pytest.raises(GradscopeError):
        judge(Measurement(1.0, (), ()), limits=limits)


def test_select_leaves_only_those_and_ignore_takes_away():
    sick = chain(decay(8, 0.1))
    assert judge(sick, select=("vanishing-gradient",))[0]
    assert not judge(sick, select=("exploding-gradient",))[0]
    assert not judge(sick, ignore=("vanishing-gradient",))[0]
    assert not judge(sick, select=("vanishing-gradient",), ignore=("vanishing-gradient",))[0]


def test_whoever_ignores_a_cause_sees_its_symptom():
    sick = chain(decay(8, 0.1))
    sick = measured(sick.layers, sick.parameters, loss=math.nan)
    assert [one.rule for one in judge(sick)[0]] == ["non-finite"]
    assert [one.rule for one in judge(sick, ignore=("non-finite",))[0]] == ["vanishing-gradient"]


def test_findings_stand_worst_first_and_then_in_forward_order():
    leaves = [
        parameter("a.w", connection=Connection.STATE),
        parameter("b.w"),
        parameter("d.w", connection=Connection.DISCONNECTED),
        parameter("c.w", connection=Connection.DISCONNECTED),
    ]
    findings, _ = judge(measured([layer(name, i) for i, name in enumerate("abcd")], leaves))
    assert [one.layer for one in findings] == ["c", "d", "a"]


def test_an_empty_measurement_is_healthy():
    assert judge(Measurement(1.0, (), ())) == ((), ())
    assert judge_parts(Parts()) == ((), ())


def test_names_of_a_model_are_passed_on_raw_and_only_so_many():
    assert names_of(["a"]) == "`a`"
    assert names_of(["a", "b"]) == "`a` and `b`"
    assert names_of(["a", "b", "c", "d"]) == "`a`, `b`, `c` and `d`"
    assert names_of(["a", "b", "c", "d", "e"]) == "`a`, `b`, `c` and 2 more"
    assert names_of([]) == ""


def test_numbers_have_three_digits():
    assert [number(x) for x in (0.03123, 1.234e-7, 4123.0, math.nan, -math.inf, 2.0)] == [
        "0.0312",
        "1.23e-07",
        "4120",
        "NaN",
        "-inf",
        "2",
    ]


def test_a_fallback_is_told_by_itself_only_where_no_other_rule_has_an_error():
    training = trained(rescaled=another_start(0.3, 1.8))
    alone, _ = rules.judge(Parts(flow=chain([1.0] * 4), training=training))
    assert [finding.rule for finding in alone] == ["mis-scaled-initialization"]
    both, _ = rules.judge(Parts(flow=chain(decay(12, 0.3)), training=training))
    assert [finding.rule for finding in both] == ["vanishing-gradient"]
    assert "mis-scaled-initialization" in str(both[0].evidence["silenced"])
    ignored, _ = rules.judge(
        Parts(flow=chain(decay(12, 0.3)), training=training), ignore=("vanishing-gradient",)
    )
    assert [finding.rule for finding in ignored] == ["mis-scaled-initialization"]


def test_hits_that_explain_each_other_leave_one_of_them() -> None:
    """A gradient that explodes may be what makes a loss NaN, and what a rate that is too high makes of it."""
    names = ("exploding-gradient", "non-finite", "diverging-loss", "learning-rate-too-high")
    hits = [(get(name), Hit(name, "", {}, severity=Severity.ERROR, explains=None)) for name in names]
    for order in (hits, hits[::-1]):
        ((rule, hit),) = _without_symptoms(order, set())
        assert rule.name in names
        assert all(name in hit.message for name in names if name != rule.name)
