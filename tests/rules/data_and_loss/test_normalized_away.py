"""normalized-away: told where the features of each place normalized train better."""

from __future__ import annotations

from dataclasses import replace

from gradscope.records import (
    Finding,
    LoneNormalization,
    NormalizedPlaces,
    Severity,
    Structure,
    TriedVariant,
)
from gradscope.rules import Parts, judge
from tests.rules.made import layer, measured, source
from tests.rules.training.made import trained

NORM = NormalizedPlaces(source(19), (256, 12, 32), (1,))
BETTER = TriedVariant(100, start_without=1.9, end_without=0.97, start=2.8, end=0.05)


def told(*norms: NormalizedPlaces, tried: TriedVariant | None = BETTER) -> list[Finding]:
    structure = Structure(normalized=norms, over_features=tried)
    parts = Parts(measured([layer("w", 1)], structure=structure), training=trained())
    return list(judge(parts, select=("normalized-away",))[0])


def test_it_is_an_error_with_the_axis_and_the_losses() -> None:
    (finding,) = told(NORM, NORM)
    assert (finding.severity, finding.source) == (Severity.ERROR, source(19))
    assert "shape (256, 12, 32) is normalized over axis 1: each of its 32 features" in finding.message
    assert "The same holds for 1 more. With the last axis normalized, 100 steps" in finding.message
    assert "axes 1, 2" in told(replace(NORM, axes=(1, 2)))[0].message


def test_an_instance_normalization_that_is_no_worse_is_quiet() -> None:
    assert told() == []
    assert told(NORM, tried=None) == []
    assert told(NORM, tried=replace(BETTER, end=0.9)) == []


LONE = LoneNormalization(source(7), (1, 64), (0,), ("w",))


def of_one(lone: LoneNormalization, gradient: float) -> list[Finding]:
    layers = [replace(layer("w", 1), gradient_max=gradient), layer("v", 2)]
    parts = Parts(measured(layers, structure=Structure(lone=(lone,))))
    return list(judge(parts, select=("normalized-away",))[0])


def test_a_single_element_is_told_without_a_training() -> None:
    (finding,) = of_one(LONE, 0.0)
    assert (finding.severity, finding.layer, finding.source) == (Severity.ERROR, "w", source(7))
    assert "shape (1, 64) is normalized over axis 0, which holds a single element" in finding.message
    assert "several examples" in finding.remedy


def test_layers_that_have_a_gradient_by_another_way_make_it_a_warning() -> None:
    (finding,) = of_one(replace(LONE, shape=(4, 1, 1, 8), axes=(1, 2)), 0.1)
    assert finding.severity is Severity.WARNING
    assert "axes 1, 2, which hold a single element" in finding.message
    assert "over an axis that holds several elements, here axis 0 (4) or 3 (8)" in finding.remedy


def test_the_remedy_fits_members_of_an_ensemble_and_single_features() -> None:
    (finding,) = of_one(replace(LONE, shape=(1, 64, 4), examples=64), 0.0)
    assert "one place, where the batch has 64 examples" in finding.remedy
    assert "here axis 1 (64) or 2 (4)" in finding.remedy
    (finding,) = of_one(replace(LONE, shape=(64, 1), axes=(1,), examples=64), 0.0)
    assert "here axis 0 (64), or leave this normalization out" in finding.remedy
    assert "batches of several examples" not in finding.remedy


def test_an_error_of_another_rule_does_not_speak_for_a_single_element() -> None:
    layers = [replace(layer("w", 1), gradient_max=0.0), layer("v", 2)]
    parts = Parts(measured(layers, loss=float("nan"), structure=Structure(lone=(LONE,))))
    assert "normalized-away" in [finding.rule for finding in judge(parts)[0]]


def test_without_a_training_places_are_not_judged() -> None:
    parts = Parts(measured([layer("w", 1)], structure=Structure(normalized=(NORM,))))
    found, skipped = judge(parts, select=("normalized-away",))
    assert found == ()
    assert [(each.what, each.reason) for each in skipped] == [
        ("normalized-away", "no short training was run")
    ]
