"""cost-over-limit: above the limit alone, the update of the optimizer included."""

from __future__ import annotations

from dataclasses import replace

from gradscope.records import Cost, Finding, LayerCost, PassCost, Severity, UpdateCost
from gradscope.rules import Parts, judge

STEP = Cost(
    batch_size=8,
    layers=(
        LayerCost("a", None, PassCost(100.0, 0.0, 1.0), PassCost(200.0, 0.0, 1.0)),
        LayerCost("b", None, PassCost(300.0, 0.0, 1.0), PassCost(300.0, 0.0, 1.0)),
    ),
    lines=(),
    kinds=(),
    update=UpdateCost("your optimizer", 100.0, 1.0),
)
"""1,000 operations."""


def found(cost: Cost) -> list[Finding]:
    return [each for each in judge(Parts(cost=cost))[0] if each.rule == "cost-over-limit"]


def test_above_the_limit_it_is_an_error_that_names_the_layer() -> None:
    (finding,) = found(replace(STEP, limit=999.0))
    assert finding.severity is Severity.ERROR
    assert finding.evidence == {"operations": 1000.0, "limit": 999.0}
    assert "Its `b` takes 67% of them." in finding.message


def test_at_the_limit_and_without_one_it_is_quiet() -> None:
    assert not found(replace(STEP, limit=1000.0))
    assert not found(STEP)
