"""wrong-mode: what is told of a state that was never set, and what it explains."""

from __future__ import annotations

from dataclasses import replace

from gradscope.records import (
    Finding,
    Objective,
    Severity,
    Structure,
    TriedVariant,
    UnsetState,
    UntouchedStatistics,
)
from gradscope.rules import Parts, judge as judge_parts
from tests.rules.made import chain, found, judge, layer, measured, source
from tests.rules.training.made import trained

RULE = "wrong-mode"


def state(at: str = "norm", line: int = 7) -> UnsetState:
    return UnsetState(source(line), at, size=16, largest=0.0, epsilon=1e-5, factor=316.2)


def test_states_that_are_set_are_quiet() -> None:
    assert found(measured([layer("norm", 1)]), RULE) == []


def test_a_state_that_was_never_set_is_an_error_with_its_factor() -> None:
    objective = Objective(unset_states=(state(), state("other")))
    (finding,) = found(measured([layer("norm", 1)], objective=objective), RULE)
    assert finding.severity is Severity.ERROR
    assert (
        "whose 32 elements are at most 0, with 1e-05 added: it multiplies by 316 or more" in finding.message
    )
    assert "This line does so 2 times" in finding.message
    assert "training mode" in finding.remedy


def test_two_lines_are_two_findings() -> None:
    objective = Objective(unset_states=(state(), state(line=9)))
    assert len(found(measured([layer("norm", 1)], objective=objective), RULE)) == 2


def test_an_explosion_is_its_symptom() -> None:
    exploding = chain([10.0**-i for i in range(8)])
    assert [finding.rule for finding in judge(exploding)[0]] == ["exploding-gradient"]
    sick = measured(exploding.layers, exploding.parameters, objective=Objective(unset_states=(state(),)))
    (finding,) = judge(sick)[0]
    assert finding.rule == RULE
    assert "exploding-gradient" in finding.message


BETTER = TriedVariant(100, start_without=1.61, end_without=1.58, start=1.65, end=0.12)
ONES = UntouchedStatistics(source(11), 16)


def told(*norms: UntouchedStatistics, tried: TriedVariant | None = BETTER) -> list[Finding]:
    structure = Structure(untouched=norms, over_batch=tried)
    parts = Parts(measured([layer("w", 1)], structure=structure), training=trained())
    return list(judge_parts(parts, select=(RULE,))[0])


def test_variances_of_one_are_an_error_where_those_of_the_batch_train_better() -> None:
    (finding,) = told(ONES, ONES)
    assert (finding.severity, finding.source) == (Severity.ERROR, source(11))
    assert "root of 16 running variances, each of which is exactly 1" in finding.message
    assert "The same holds for 1 more. With the mean and variance of the batch, 100 steps" in finding.message


def test_variances_of_one_that_do_no_harm_are_quiet() -> None:
    assert told() == []
    assert told(ONES, tried=None) == []
    assert told(ONES, tried=replace(BETTER, end=1.6)) == []
