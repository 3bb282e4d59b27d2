"""`learning-rate-too-high` and `learning-rate-too-low`: at their limits, and what they leave to others."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from gradscope.records import (
    ClassAverage,
    DecayedRate,
    Finding,
    GradientNoise,
    Intervention,
    Objective,
    WarmUp,
)
from gradscope.rules import Parts, judge
from tests.rules.made import chain
from tests.rules.training.made import trained, tried


def found(*trials: Intervention, end: float = 2.5, **fields: object) -> list[Finding]:
    if all(each.change != "none" for each in trials):
        trials = (tried("none", 1.0, end), *trials)
    return list(judge(Parts(training=trained(end=end, trials=trials, **fields)))[0])


def test_too_high_needs_a_rise_that_lasts_and_a_smaller_rate_that_cures() -> None:
    (finding,) = found(tried("none", 1.0, 2.3), tried("factor", 0.1, 1.5))
    assert (finding.rule, finding.evidence["factor"]) == ("learning-rate-too-high", 0.1)
    assert "With 0.1 times each update it falls to 1.5" in finding.message
    # it comes down again; nothing smaller helps; it rises by less than half of what the other gains
    assert found(tried("none", 1.0, 1.9), tried("factor", 0.1, 1.5)) == []
    assert found(tried("none", 1.0, 2.3), tried("factor", 0.1, 1.99)) == []
    assert found(tried("none", 1.0, 2.3), tried("factor", 0.1, 1.3)) == []


def test_too_high_at_its_limit() -> None:
    assert found(tried("none", 1.0, 2.21), tried("factor", 0.1, 1.9)) != []
    assert found(tried("none", 1.0, 2.19), tried("factor", 0.1, 1.9)) == []
    limits = {"learning-rate-too-high": {"rise": 0.09}}
    parts = Parts(training=trained(trials=(tried("none", 1.0, 2.19), tried("factor", 0.1, 1.9))))
    assert judge(parts, limits=limits)[0] != ()


def test_a_loss_that_is_not_finite_any_more_has_risen() -> None:
    (finding,) = found(tried("none", 1.0, math.nan), tried("factor", 0.01, 1.0), end=math.nan)
    assert "to a value that is not finite" in finding.message


def test_a_rate_that_is_far_too_high_may_be_a_matter_of_scale() -> None:
    (finding,) = found(tried("none", 1.0, math.nan), tried("factor", 1e-10, 1.0), end=math.nan)
    assert "may be a matter of scale" in finding.remedy
    assert "scale" not in found(tried("none", 1.0, math.nan), tried("factor", 0.001, 1.0))[0].remedy


LOSSES = (2.0, 30.0, 4e5, *[math.inf] * 17)


def test_steps_that_make_the_loss_not_finite_are_an_error_where_no_rate_cures_it() -> None:
    nothing = {"losses": LOSSES, "end": math.nan}
    (finding,) = found(tried("factor", 1e-12, math.nan), **nothing)
    assert (finding.rule, finding.severity.value) == ("diverging-loss", "error")
    assert "from 2 to NaN; the first loss that is not finite comes after 3 steps." in finding.message
    assert found(tried("factor", 0.1, math.nan), own=False, **nothing) == []
    (other,) = found(tried("none", 1.0, math.nan), tried("factor", 0.1, 1.0), **nothing)
    assert other.rule == "learning-rate-too-high"


def test_a_loss_that_is_finite_again_is_no_divergence() -> None:
    """A batch with a NaN that the optimizer steps over, or a draw that is infinite now and then."""
    assert found(losses=(2.0, 1.9, math.nan, 1.8), end=1.5) == []


def test_a_batch_that_is_broken_from_the_start_is_told_and_not_the_optimizer() -> None:
    (finding,) = found(tried("factor", 1e-12, math.nan), losses=LOSSES, end=math.nan, bad_batch=4)
    assert finding.message.startswith("Batch 4 of the data has a loss that is not finite")
    assert "learning rate" not in finding.remedy


def test_turning_the_updates_round_is_no_smaller_rate() -> None:
    assert found(tried("none", 1.0, 2.3), tried("factor", -1.0, 1.0)) == []


def test_a_rise_within_the_noise_of_the_batches_is_none() -> None:
    noisy = tried("none", 1.0, 2.5, error=0.3), tried("factor", 0.1, 1.5, error=0.3)
    assert found(*noisy) == []
    assert found(*(replace(each, error=0.2) for each in noisy)) != []


def test_too_low_needs_a_higher_rate_that_is_many_times_as_fast() -> None:
    slow = tried("factor", 10.0, 1.97), tried("factor", 100.0, 1.9)
    (finding,) = found(*slow, end=1.999, batches=4)
    assert (finding.rule, finding.severity.value) == ("learning-rate-too-low", "note")
    assert finding.evidence["factor"] == 100.0
    # less than `fall` of the loss, and less than `gain` times as much
    assert found(tried("factor", 10.0, 1.97), end=1.999) == []
    assert found(tried("factor", 10.0, 1.85), end=1.968) == []


def test_a_rate_for_fine_tuning_is_a_note() -> None:
    assert found(tried("factor", 10.0, 1.5), end=1.99, batches=4)[0].severity.value == "note"
    assert found(tried("factor", 100.0, 1.5), end=1.99)[0].severity.value == "note"


def test_adam_in_the_place_of_an_optimizer_is_not_blamed() -> None:
    high, low = tried("factor", 0.1, 1.5), tried("factor", 1000.0, 1.5)
    assert found(tried("none", 1.0, 2.5), high, own=False) == []
    assert found(low, end=1.99, own=False) == []


def test_a_loss_that_is_averaged_once_too_often_is_the_cause_and_not_the_rate() -> None:
    average = ClassAverage(source=None, layer="out", classes=50, factor=50.0)
    flow = replace(chain([1.0] * 4), objective=Objective(class_averages=(average,)))
    slow = trained(end=1.99, trials=(tried("none", 1.0, 1.99), tried("factor", 10.0, 1.5)))
    (finding,) = judge(Parts(flow=flow, training=slow))[0]
    assert finding.rule == "unexpected-initial-loss"
    assert "learning-rate-too-low" in finding.message


def test_gradients_without_a_common_part_are_told_where_the_loss_stays() -> None:
    stays = tried("none", 1.0, 1.99, error=0.01)
    noise = GradientNoise(8, 16, 0.05)
    (finding,) = found(stays, end=1.99, noise=noise)
    assert (finding.rule, finding.severity.value) == ("noisy-gradient", "warning")
    assert "cosine between two of them is 0.05 (limit 0.1)" in finding.message
    assert "a batch 19 times as large, about 304 rows" in finding.message
    assert found(stays, end=1.99, noise=GradientNoise(8, 16, 0.11)) == []
    assert found(tried("none", 1.0, 1.9), end=1.9, noise=noise) == []
    (finding,) = found(stays, end=1.99, noise=GradientNoise(8, None, -0.01))
    assert "No common part could be measured" in finding.message


def test_a_rate_that_is_too_low_speaks_for_the_noise() -> None:
    (finding,) = found(
        tried("none", 1.0, 1.999),
        tried("factor", 100.0, 1.5),
        tried("none", 1.0, 1.99, steps=100),
        tried("factor", 100.0, 1.0, steps=100),
        end=1.999,
        batches=8,
        noise=GradientNoise(8, 16, 0.05),
    )
    assert finding.rule == "learning-rate-too-low"


def test_a_loss_that_is_stuck_where_a_smaller_rate_takes_it_all_is_too_high() -> None:
    (finding,) = found(tried("none", 1.0, 1.99), tried("factor", 0.01, 0.1), end=2.1)
    assert finding.rule == "learning-rate-too-high"
    # it falls a little; the smaller rate gains less than half of it; noise is as large
    assert found(tried("none", 1.0, 1.95), tried("factor", 0.01, 0.1), end=2.1) == []
    assert found(tried("none", 1.0, 1.99), tried("factor", 0.01, 1.1), end=2.1) == []
    assert found(tried("none", 1.0, 1.99, error=1.0), tried("factor", 0.01, 0.1), end=2.1) == []


def test_how_far_the_first_update_may_go_is_told() -> None:
    high = tried("none", 1.0, 2.3), tried("factor", 0.1, 1.5)
    (finding,) = found(*high, critical=0.25)
    assert "The first update raises the loss of its batch; 0.25 of it does not." in finding.message
    (finding,) = found(*high, critical=0.0)
    assert "Even 0.000244 of the first update raises the loss" in finding.message
    (finding,) = found(*high, critical=1.0)
    assert "first update" not in finding.message


def decayed(end: float, held: float, **fields: Any) -> list[Finding]:
    rate = DecayedRate(highest=1, ended=8, steps=100, start=2.0, end=end, end_held=held)
    return list(judge(Parts(training=trained(decayed_rate=rate, **fields)))[0])


def test_a_schedule_that_ends_early_costs_more_than_half_of_the_fall() -> None:
    (finding,) = decayed(1.8, 1.5)
    assert (finding.rule, finding.severity.value) == ("decayed-learning-rate", "warning")
    assert "from step 8 on" in finding.message
    assert decayed(1.7, 1.5) == []
    assert decayed(1.95, 1.85) == []
    assert decayed(1.8, math.nan) == []
    assert decayed(1.8, 1.5, own=False) == []


def warming(*sizes: float) -> list[Finding]:
    steps = tuple(10**power for power in range(2, 2 + len(sizes)))
    return list(judge(Parts(training=trained(warm_up=WarmUp(steps, sizes))))[0])


def test_a_warm_up_is_too_long_where_it_is_not_half_way_at_100_000_steps() -> None:
    (finding,) = warming(1e-5, 1e-4, 1e-3, 0.49, 1.0, 0.2)
    assert (finding.rule, finding.severity.value) == ("learning-rate-too-low", "warning")
    assert "is 0.49 of that at step 1,000,000" in finding.message
    assert warming(1e-5, 1e-4, 1e-3, 0.51, 1.0, 0.2) == []
    assert warming(0.1, 0.5, 1.0, 0.2, 0.0, 0.0) == []


def test_too_low_is_a_warning_where_longer_trainings_part() -> None:
    def parted(own: float, higher: float, **fields: Any) -> Finding:
        short = tried("none", 1.0, 1.99), tried("factor", 10.0, 1.9)
        longer = tried("none", 1.0, own, steps=100), tried("factor", 10.0, higher, steps=100)
        (finding,) = found(*short, *longer, batches=4, **fields)
        assert finding.rule == "learning-rate-too-low"
        return finding

    told = parted(1.9, 1.4)
    assert told.severity.value == "warning"
    assert told.message.startswith("100 steps of your optimizer take the loss from 2 to 1.9; with 10 times")
    assert parted(1.87, 1.4).severity.value == "note"
    assert parted(1.95, 1.61).severity.value == "note"


def test_a_single_batch_is_learned_by_heart_at_less_than_a_thousand_times_the_rate() -> None:
    for factor, severity in ((100.0, "note"), (1000.0, "warning")):
        higher = tried("factor", factor, 1.9), tried("factor", factor, 1.4, steps=100)
        (finding,) = found(tried("none", 1.0, 1.99), tried("none", 1.0, 1.95, steps=100), *higher)
        assert finding.severity.value == severity
