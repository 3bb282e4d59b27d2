"""normalized-away: told where the features of each place normalized train better."""

from __future__ import annotations

from dataclasses import replace

from gradscope.records import Finding, NormalizedPlaces, Severity, Structure, TriedVariant
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
