"""shard-dependent-loss: at its limits, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gradscope.records import Finding, Severity, ShardDependence
from tests.rules.made import chain, found, source

ONE = ShardDependence(source(3), ("data",), 8, 64, loss=2.0, turned=2.0, dealt=2.2)


def told(**changed: float) -> list[Finding]:
    return found(replace(chain([1.0] * 2), dealt=(replace(ONE, **changed),)), "shard-dependent-loss")


def test_it_is_a_warning_with_the_three_losses() -> None:
    (finding,) = told(turned=2.0001)
    assert finding.severity is Severity.WARNING
    assert finding.source == source(3)
    assert 'the 8 devices along "data" they give 2.2 instead of 2' in finding.message
    assert 'jax.lax.pmean(x, "data")' in finding.remedy
    assert finding.evidence["change"] == pytest.approx(0.1)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_it_fires_at_the_limit_and_not_below_whatever_the_scale(factor: float) -> None:
    assert told(loss=2 * factor, turned=2 * factor, dealt=2.0021 * factor)
    assert not told(loss=2 * factor, turned=2 * factor, dealt=2.0019 * factor)


def test_a_loss_that_depends_on_places_anyway_is_left_alone() -> None:
    assert not told(turned=2.0003)
    assert not told(dealt=2.01, turned=2.00015)


def test_a_loss_of_zero_is_left_alone() -> None:
    assert not told(loss=0.0, turned=0.0, dealt=0.0)
