"""missing-positions: told of a model that is blind to the order and trains better with positions."""

from __future__ import annotations

from dataclasses import replace

from gradscope.records import Finding, OrderBlind, Severity, Structure, TriedVariant
from gradscope.rules import Parts, judge
from tests.rules.made import layer, measured, source
from tests.rules.training.made import trained

BLIND = OrderBlind(source(18), places=12, loss=0.697, other=0.697)
BETTER = TriedVariant(100, start_without=0.75, end_without=0.69, start=0.71, end=0.01)


def told(tried: TriedVariant | None, blind: OrderBlind | None = BLIND, batches: int = 8) -> list[Finding]:
    structure = Structure(order_blind=blind, placed=tried)
    parts = Parts(measured([layer("embed", 1)], structure=structure), training=trained(batches=batches))
    return list(judge(parts, select=("missing-positions",))[0])


def test_a_model_that_trains_better_with_positions_is_an_error() -> None:
    (finding,) = told(BETTER)
    assert (finding.severity, finding.source) == (Severity.ERROR, source(18))
    assert "does not know the order of its 12 places" in finding.message
    assert "the loss of the first batch stays 0.697. With positions added, 100 steps" in finding.message


def test_with_one_batch_it_is_a_warning() -> None:
    (finding,) = told(BETTER, batches=1)
    assert finding.severity is Severity.WARNING


def test_a_model_of_sets_is_quiet() -> None:
    assert told(None) == []
    assert told(replace(BETTER, end=0.68)) == []
    assert told(None, blind=None) == []
