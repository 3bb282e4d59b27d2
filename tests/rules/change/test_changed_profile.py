"""A profile that moved is found; one that was scaled, or has one jump, is not."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from gradscope.gate.baseline_status import profile_of
from gradscope.records import Finding, Measurement, Reference, Report, Tool
from gradscope.rules import Parts, judging
from tests.rules.healthy import HEALTHY
from tests.rules.made import chain, decay, found, judge, layer, loop, measured

LEVEL = [1.0] * 10


def against(now: Measurement, before: Measurement) -> list[Finding]:
    return list(judge(now, reference(before), select=("changed-profile",))[0])


def reference(before: Measurement) -> Reference:
    return Reference("base.json", profile_of(Report("m.py", Tool("", "", ""), before)))


def activations(values: Sequence[float]) -> Measurement:
    return measured([layer(f"layers[{i}]", i + 1, activation_rms=v) for i, v in enumerate(values)])


def test_without_a_baseline_it_says_nothing() -> None:
    assert found(chain(decay(10, 0.1)), "changed-profile") == []


@pytest.mark.parametrize("per_layer", [0.5, 2.0])
def test_a_decay_or_a_growth_that_is_new_is_found(per_layer: float) -> None:
    (finding,) = against(chain(decay(10, per_layer)), chain(LEVEL))
    assert finding.layer == "layers[0]"
    assert finding.evidence["total"] == pytest.approx(per_layer**9)
    assert "base.json" in finding.remedy


def test_it_fires_at_the_limit_and_is_quiet_just_below() -> None:
    at = 30 ** (1 / 9)
    assert against(chain(decay(10, 1 / at)), chain(LEVEL))
    assert not against(chain(decay(10, 1 / at**0.99)), chain(LEVEL))


def test_a_cure_is_no_change_for_the_worse() -> None:
    assert against(chain(LEVEL), chain(decay(10, 0.2))) == []
    assert against(chain(LEVEL), chain(decay(10, 5.0))) == []


@pytest.mark.parametrize("by", [1e-6, 1e6])
@pytest.mark.parametrize("name", HEALTHY)
def test_the_scale_of_the_loss_is_no_change(name: str, by: float) -> None:
    assert against(chain([by * delta for delta in HEALTHY[name]]), chain(HEALTHY[name])) == []


def test_one_jump_is_no_change() -> None:
    policy_head = [0.01] * 9 + [1.0]
    assert against(chain(policy_head), chain(LEVEL)) == []
    assert against(chain(LEVEL), chain(policy_head)) == []


def test_a_head_of_zeros_is_no_change() -> None:
    assert against(chain([0.0] * 9 + [1.0]), chain(LEVEL)) == []
    assert against(chain(LEVEL), chain([0.0] * 9 + [1.0])) == []


def test_other_names_and_other_numbers_of_layers_are_no_change() -> None:
    renamed = measured([layer(f"blocks.{i}", i + 1, delta) for i, delta in enumerate(decay(10, 0.3))])
    assert against(renamed, chain(LEVEL)) == []
    assert against(chain(decay(11, 0.8)), chain(decay(10, 0.8))) == []


def test_where_no_name_matches_it_says_so_and_counts_for_no_rule_that_judged() -> None:
    renamed = measured([layer(f"blocks.{i}", i + 1) for i in range(7)] + [layer("layers[9]", 10)])
    before = reference(chain(LEVEL))
    findings, skipped = judge(renamed, before)
    assert not findings
    assert [(entry.what, entry.reason[:15]) for entry in skipped] == [("changed-profile", "1 of 8 depths h")]
    assert "changed-profile" not in judging(Parts(flow=renamed, reference=before), skipped=skipped)
    assert judge(chain([1.0] * 3), before)[1] == ()


def test_a_network_of_three_layers_cannot_tell() -> None:
    assert against(chain(decay(3, 1e-3)), chain([1.0] * 3)) == []


def test_a_spread_in_the_baseline_widens_the_limit() -> None:
    restless = chain(LEVEL, delta_norm_spread=1.0)
    assert against(chain(decay(10, 0.5)), chain(LEVEL, delta_norm_spread=0.01))
    assert against(chain(decay(10, 0.5)), restless) == []


def test_of_layers_side_by_side_the_best_path_counts() -> None:
    def net(*sides: float) -> Measurement:
        beside = [layer(f"side[{i}]", 5, delta) for i, delta in enumerate(sides)]
        return measured([*chain([1.0] * 4).layers, *beside, *(layer(f"top[{i}]", 6 + i) for i in range(4))])

    assert against(net(1e-9, 1.0), net(1.0, 1e-9)) == []


def test_activations_that_now_grow_are_found_at_the_end_of_their_growth() -> None:
    (finding,) = against(activations([4.0**i for i in range(8)]), activations([1.0] * 8))
    assert finding.evidence["of"] == "activation"
    assert finding.message.startswith(
        "The output of `layers[7]`, relative to that of `layers[0]`, is 16400 times"
    )
    assert against(activations([0.25**i for i in range(8)]), activations([1.0] * 8))


def test_activations_have_no_free_scale_but_may_come_nearer_to_one() -> None:
    (finding,) = against(activations([150.0] * 8), activations([1.0] * 8))
    assert finding.evidence["total"] == pytest.approx(150)
    assert against(activations([99.0] * 8), activations([1.0] * 8)) == []
    assert against(activations([1.0] * 8), activations([150.0] * 8)) == []
    assert against(activations([*[1.0] * 7, 1e-3]), activations([1.0] * 8)) == []


@pytest.mark.parametrize("hostile", [math.nan, math.inf, 0.0, None])
def test_no_number_in_a_baseline_makes_it_crash(hostile: float | None) -> None:
    before = chain([hostile, *LEVEL], delta_norm_spread=hostile, activation_rms=hostile)
    against(chain([1.0, *LEVEL]), before)
    against(before, chain([1.0, *LEVEL]))


def told(now: Measurement, before: Measurement, *, known: bool) -> list[str]:
    return [f.rule for f in judge(now, reference(before), known=lambda finding: known)[0]]


def test_what_the_baseline_knows_hides_no_change_and_what_is_new_speaks_for_it() -> None:
    sick, sicker = chain(decay(10, 5.0)), chain(decay(10, 25.0))
    assert told(sicker, sick, known=True) == ["changed-profile", "exploding-gradient"]
    assert told(sicker, sick, known=False) == ["exploding-gradient"]
    assert told(sick, sick, known=True) == ["exploding-gradient"]


def test_a_new_symptom_of_a_known_cause_hides_no_change_either() -> None:
    names = tuple(f"layers[{i}]" for i in range(10))
    loops = loop(decay(100, 0.5), layers=names).recurrences
    sick = measured(chain(decay(10, 0.1)).layers, recurrences=loops)
    before = reference(chain(LEVEL))
    findings, _ = judge(sick, before, known=lambda finding: finding.rule == "vanishing-through-time")
    assert {finding.rule for finding in findings} == {"changed-profile", "vanishing-through-time"}
    assert {finding.rule for finding in judge(sick, before)[0]} == {"vanishing-through-time"}
