"""dead-units and saturated-units: which layers are told, and how gravely."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gradscope.records import Finding, Parameter, Severity, UnitActivity
from gradscope.rules import Parts, judge
from tests.rules.activations.made import another_start, units
from tests.rules.made import chain, parameter, source
from tests.rules.training.made import trained

DEAD, SATURATED = "dead-units", "saturated-units"


def told(rule: str, *found: UnitActivity, start: tuple[float, float] | None = None) -> list[Finding]:
    rescaled = None if start is None else another_start(*start)
    parts = Parts(flow=replace(chain([1.0] * 3), units=found), training=trained(rescaled=rescaled))
    return list(judge(parts, select=(rule,))[0])


def test_half_of_the_units_dead_is_a_warning_with_their_number() -> None:
    (finding,) = told(DEAD, units("layers[1]", dead=32, dead_later=33))
    assert (finding.severity, finding.layer, finding.source) == (Severity.WARNING, "layers[1]", source(12))
    assert "32 of the 64 units of `layers[1]` (50 %) are dead" in finding.message
    assert "for all 128 values of each in 1 batch" in finding.message
    assert "after 20 steps of your optimizer 33 are" in finding.message
    assert finding.remedy.startswith("Use `jax.nn.leaky_relu` or GELU"), "no bias, and weights of He's size"


@pytest.mark.parametrize(
    ("parameters", "start"),
    [
        ([], ""),
        ([parameter("layers[1].b", shape=(64,), weight_rms=0.0)], ""),
        ([parameter("layers[1].gamma", shape=(64,), weight_rms=1.0)], ""),
        ([parameter("layers[1].b", shape=(64,), weight_rms=1.5)], "Start `layers[1].b` at 0"),
        ([parameter("layers[1]['b']", layer="layers[1]", shape=(64,))], "Start `layers[1]['b']` at 0"),
        ([parameter("layers[0].b", shape=(64,), weight_rms=1.5)], ""),
        (
            [parameter("layers[1].w", weight_rms=0.01), parameter("layers[1].b", shape=(64,))],
            "Start `layers[1].b` at 0 and draw its weights from",
        ),
    ],
)
def test_a_remedy_names_what_the_layer_has(parameters: list[Parameter], start: str) -> None:
    for rule, found, otherwise in (
        (DEAD, units("layers[1]", dead=40), "Use"),
        (SATURATED, units("layers[1]", saturated=0.7), "Put a normalization"),
    ):
        flow = replace(chain([1.0] * 3), units=(found,), parameters=tuple(parameters))
        (finding,) = judge(Parts(flow=flow, training=trained()), select=(rule,))[0]
        assert finding.remedy.startswith(start or otherwise)


def test_below_the_limits_is_quiet() -> None:
    assert told(DEAD, units("layers[1]", dead=31, dead_later=31)) == []
    assert told(DEAD, units("layers[1]", dead=64, elements=15)) == []
    assert told(SATURATED, units("layers[1]", saturated=0.49, saturated_later=0.49)) == []
    assert told(SATURATED, units("layers[1]", saturated=0.9, hidden=False)) == []
    assert told(DEAD) == told(SATURATED) == []


def test_units_that_the_steps_wake_are_not_dead() -> None:
    assert told(DEAD, units("layers[1]", dead=64, dead_later=31)) == []
    (finding,) = told(DEAD, units("layers[1]", dead=64, dead_later=32))
    assert "64 of the 64 units of `layers[1]` (100 %) are dead" in finding.message
    assert "after 20 steps of your optimizer 32 are" in finding.message
    assert finding.evidence["share"] == 0.5


def test_units_that_die_in_training_are_told_as_such() -> None:
    (finding,) = told(DEAD, units("layers[1]", dead=3, dead_later=60))
    assert (
        "60 of the 64 units of `layers[1]` (93.8 %) are dead after 20 steps of your optimizer, 3 were before"
        in (finding.message)
    )
    assert finding.remedy.startswith("Lower the learning rate")
    (finding,) = told(SATURATED, units("layers[1]", saturated=0.1, saturated_later=0.8))
    assert finding.message.startswith("After 20 steps of your optimizer 80 % of the outputs of `layers[1]`")
    assert finding.remedy.startswith("Lower the learning rate")


def test_the_worst_layer_speaks_for_the_others() -> None:
    (finding,) = told(
        SATURATED, units("layers[0]", saturated=0.6), units("layers[1]", saturated=0.9), units("layers[2]")
    )
    assert finding.layer == "layers[1]"
    assert finding.message.endswith("The same holds for `layers[0]`.")
    assert finding.evidence["layers"] == 2


@pytest.mark.parametrize(
    ("rule", "found"), [(DEAD, units("layers[1]", dead=40)), (SATURATED, units("layers[1]", saturated=0.7))]
)
def test_what_training_from_another_start_does_not_mend_is_a_note(rule: str, found: UnitActivity) -> None:
    (finding,) = told(rule, found, start=(0.5, 0.6))
    assert finding.severity is Severity.NOTE
    assert "100 steps of your optimizer end at a loss of 0.6" in finding.message
    assert "rescaled layer by layer at 0.5" in finding.message
    (finding,) = told(rule, found, start=(0.5, 1.9))
    assert finding.severity is Severity.WARNING


@pytest.mark.parametrize(("size", "count"), [(1, 0), (2, 1)])
def test_a_learned_schedule_of_single_numbers_is_meant_to_saturate(size: int, count: int) -> None:
    leaves = (parameter("layers[1].w", size=size), parameter("layers[1].b", size=1))
    flow = replace(chain([1.0] * 3), units=(units("layers[1]", saturated=0.9),), parameters=leaves)
    assert len(judge(Parts(flow=flow), select=(SATURATED,))[0]) == count
