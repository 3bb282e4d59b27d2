"""vanishing-through-time and exploding-through-time."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from gradscope.records import Severity
from gradscope.rules import Parts, judge as judge_parts
from tests.rules.made import chain, decay, found, judge, layer, loop, measured
from tests.rules.training.made import trained

VANISHING, EXPLODING = "vanishing-through-time", "exploding-through-time"
HEALTHY = {
    "level": [1.0] * 80,
    "a loss at every step, level": [3.0 - 2.0 * t / 80 for t in range(80)],
    "a sum of losses in a perfect memory of 2000 steps": [2000.0 - t for t in range(2000)],
    "teacher forcing: the state matters at the end only": [0.0] * 79 + [1.0],
    "truncated backpropagation": [0.0] * 60 + decay(20, 0.8),
    "the loss ends at step 40": decay(40, 0.9) + [0.0] * 40,
    "seven steps": decay(7, 0.01),
    "one jump at the end": [1e-5] * 79 + [1.0],
    "one jump in the middle": [1e-4] * 40 + [1.0] * 40,
    "episodes that end on the way": [1.0, 0.1, 1.0, 1.1, 0.2, 0.9, 1.0, 1.0, 0.3, 1.0],
    "no step": [],
    "never reached": [0.0] * 20,
    "not finite at all": [math.nan] * 20,
    "an LSTM with a forget gate of 0.95 over 100 steps": decay(100, 0.95),
    "growth of 1.1 a step": decay(60, 1.1),
}


@pytest.mark.parametrize("deltas", HEALTHY.values(), ids=HEALTHY.keys())
def test_a_healthy_loop_is_silent(deltas):
    assert not judge(loop(deltas), select=(VANISHING, EXPLODING))[0]


def test_the_step_and_the_horizon_are_named():
    (finding,) = found(loop(decay(100, 0.905)), VANISHING)
    assert finding.evidence["step"] == 30
    assert finding.evidence["horizon"] == 70
    assert finding.severity is Severity.WARNING
    assert "at step 30 of 100" in finding.message
    assert finding.evidence["decay_per_step"] == pytest.approx(0.905)


@pytest.mark.parametrize(
    ("end", "own", "severity"), [(0.9, True, "warning"), (1.1, True, "error"), (0.9, False, "error")]
)
def test_a_task_that_is_learned_without_a_longer_memory_is_a_warning(end, own, severity):
    parts = Parts(flow=loop(decay(100, 0.8)), training=trained(end=end, own=own))
    (finding,) = [each for each in judge_parts(parts)[0] if each.rule == VANISHING]
    assert finding.severity.value == severity


@pytest.mark.parametrize(
    ("end", "own", "severity"), [(0.9, True, "note"), (1.1, True, "warning"), (0.9, False, "warning")]
)
def test_a_gate_at_its_usual_start_that_learns_is_a_note(end, own, severity):
    parts = Parts(flow=loop(decay(48, 0.7), gated=True), training=trained(end=end, own=own))
    (finding,) = [each for each in judge_parts(parts)[0] if each.rule == VANISHING]
    assert finding.severity.value == severity


def test_a_horizon_under_half_of_the_sequence_is_an_error():
    assert found(loop(decay(100, 0.8)), VANISHING)[0].severity is Severity.ERROR
    assert found(loop(decay(40, 0.8)), VANISHING)[0].severity is Severity.WARNING


@pytest.mark.parametrize("gate", [0.5, 0.73])
def test_a_gate_at_its_usual_start_vanishes_over_100_steps_and_that_is_said(gate):
    (finding,) = found(loop(decay(100, gate), gated=True), VANISHING)
    assert finding.severity is Severity.WARNING
    assert "a bias of 2.67" in finding.remedy


def test_without_a_gate_the_same_decay_is_an_error_and_a_gate_the_remedy():
    (finding,) = found(loop(decay(100, 0.5)), VANISHING)
    assert finding.severity is Severity.ERROR
    assert "forget bias of 2.67" in finding.remedy


def test_vanishing_fires_at_the_limit_and_is_quiet_just_below():
    assert found(loop(decay(31, 1e-3 ** (1 / 30))), VANISHING)
    assert not found(loop(decay(31, 1.001e-3 ** (1 / 30))), VANISHING)


def test_exploding_fires_at_the_limit_and_is_quiet_just_below():
    assert found(loop(decay(31, 1e3 ** (1 / 30))), EXPLODING)
    assert not found(loop(decay(31, 999.0 ** (1 / 30))), EXPLODING)


def test_underflow_to_zero_is_the_end_of_a_decay_and_no_cut():
    (finding,) = found(loop([0.0] * 60 + decay(40, 0.1)), VANISHING)
    assert finding.evidence["horizon"] == 3
    assert finding.evidence["length"] == 100


def test_steps_after_the_loss_do_not_count():
    (finding,) = found(loop(decay(40, 0.5) + [0.0] * 60), VANISHING)
    assert finding.evidence["length"] == 40


def test_growth_names_the_step_and_a_clip_that_is_scaled_down():
    (finding,) = found(loop(decay(60, 2.0)), EXPLODING)
    assert finding.evidence["growth_per_step"] == pytest.approx(2.0)
    assert "divide them by 2 " in finding.remedy
    # The head, above the loop, keeps its norm of 0.32; that of the loop is divided by its growth.
    assert "`optax.clip_by_global_norm(0.3)`" in finding.remedy


def test_growth_that_overflows_is_still_seen():
    assert found(loop([math.inf] * 10 + decay(40, 4.0)), EXPLODING)


def test_growth_that_ends_on_the_way_is_still_seen():
    assert found(loop(decay(20, 0.5) + decay(40, 2.0)), EXPLODING)


def test_a_loop_without_layers_has_a_finding_too():
    (finding,) = found(loop(decay(60, 0.5), layers=()), VANISHING)
    assert finding.layer is None
    assert finding.source is not None


def test_an_exploding_loop_silences_the_explosion_over_depth_that_it_makes():
    names = tuple(f"layers[{i}]" for i in range(6))
    one = loop(decay(60, 2.0), layers=names).recurrences
    sick = chain(decay(6, 16.0))
    (finding,) = judge(measured(sick.layers, recurrences=one))[0]
    assert finding.rule == EXPLODING
    assert finding.evidence["silenced"] == "exploding-gradient"
    assert "exploding-gradient at `layers[0]`" in finding.message


@pytest.mark.parametrize("gated", [True, False])
def test_a_loop_that_is_a_warning_silences_no_error(gated):
    names = tuple(f"layers[{i}]" for i in range(6))
    one = loop(decay(100, 0.5), layers=names, gated=gated).recurrences
    findings, _ = judge(measured(chain(decay(6, 0.05)).layers, recurrences=one))
    told = [(finding.rule, finding.severity) for finding in findings]
    warned = [("vanishing-gradient", Severity.ERROR), (VANISHING, Severity.WARNING)]
    assert told == (warned if gated else [(VANISHING, Severity.ERROR)])


def test_an_explosion_elsewhere_is_told_on_its_own():
    one = loop(decay(60, 2.0)).recurrences
    layers = [*chain(decay(6, 16.0)).layers, layer("rnn", 8)]
    findings, _ = judge(measured(layers, recurrences=one))
    assert {finding.rule for finding in findings} == {EXPLODING, "exploding-gradient"}


@pytest.mark.parametrize(("rule", "mild", "grave"), [(VANISHING, 0.8, 0.7), (EXPLODING, 1.3, 1.5)])
def test_a_loop_with_two_states_is_one_finding_about_the_worse_one(rule, mild, grave):
    first, second = loop(decay(80, mild)), loop(decay(80, grave))
    (a,), (b,) = first.recurrences, second.recurrences
    (finding,) = found(replace(first, recurrences=(replace(a, name="h"), replace(b, name="c"))), rule)
    assert finding.evidence["recurrence"] == "c"


def test_a_simulation_is_told_to_shorten_its_horizon():
    (finding,) = found(loop(decay(60, 1.26), added=True), EXPLODING)
    assert finding.severity is Severity.ERROR
    assert "orthogonal" not in finding.remedy
    assert "δ grows 10 times in 10 steps" in finding.remedy
    assert "jnp.where(i % 10 == 0" in finding.remedy


def test_a_loop_whose_weights_do_not_mix_the_state_has_no_weights_to_make_orthogonal():
    measurement = loop(decay(60, 1.26))
    elementwise = [replace(layer, op="mul") for layer in measurement.layers]
    (finding,) = found(replace(measurement, layers=tuple(elementwise)), EXPLODING)
    assert finding.remedy.startswith("No weights mix the state: differentiate a shorter horizon")
