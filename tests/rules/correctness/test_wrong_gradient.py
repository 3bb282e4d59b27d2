"""`wrong-gradient` on records made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from gradscope.records import (
    ElementCheck,
    Finding,
    GradientCheck,
    RuleCheck,
    Severity,
    Source,
    Transposition,
    Verdict,
    Verification,
)
from gradscope.rules import Parts, judge

RULE = Source("model.py", 7, "def swish(x):")


def leaf(name: str, verdict: Verdict = Verdict.RIGHT, **fields: Any) -> GradientCheck:
    wrong = verdict is Verdict.WRONG
    defaults: dict[str, Any] = {
        "layer": name.rpartition(".")[0],
        "cause": "",
        "reason": "0.5 times the finite differences, in every direction" if wrong else "",
        "directions": 3,
        "analytic": 0.1,
        "numeric": 0.2 if wrong else 0.1,
        "error": 0.1 if wrong else 1e-12,
        "uncertainty": 1e-10,
        "step": 1e-5,
        "dtype": "float64",
        "ratio": 0.5 if wrong else 1.0,
        "source": Source("model.py", 20),
    }
    return GradientCheck(name, verdict=verdict, **(defaults | fields))


def custom(verdict: Verdict = Verdict.WRONG, argument: str = "x", **fields: Any) -> RuleCheck:
    defaults: dict[str, Any] = {
        "reason": f"the cotangent of `{argument}` is 0.5 times the right one: a factor of 2 is missing",
        "ratio": 0.5,
        "relative_error": 0.5,
        "uncertainty": 1e-10,
        "uses": 2,
        "source": RULE,
    }
    return RuleCheck("swish", "custom_vjp", argument, verdict, **(defaults | fields))


def by_rule(name: str) -> GradientCheck:
    return leaf(name, Verdict.WRONG, cause="custom-rule", source=RULE)


def found(
    *gradients: GradientCheck, rules: tuple[RuleCheck, ...] = (), limit: float = 1e-3, **fields: Any
) -> list[Finding]:
    verified = Verification(1.0, gradients, custom_rules=rules, **fields)
    findings, _ = judge(
        Parts(gradients=verified),
        select=("wrong-gradient",),
        limits={"wrong-gradient": {"relative_error": limit}},
    )
    return list(findings)


def test_right_gradients_and_rules_are_no_finding() -> None:
    assert found(leaf("a.w"), leaf("b.w"), rules=(custom(Verdict.RIGHT, ratio=1.0),)) == []
    assert found() == []


def test_what_cannot_be_judged_is_not_wrong() -> None:
    assert found(leaf("a.w", Verdict.CANNOT_JUDGE), rules=(custom(Verdict.CANNOT_JUDGE),)) == []


def test_a_wrong_rule_is_one_finding_with_its_parameters_as_evidence() -> None:
    (finding,) = found(by_rule("a.w"), by_rule("b.w"), leaf("head.w"), rules=(custom(),))
    assert finding.severity is Severity.ERROR
    assert finding.source == RULE
    assert finding.layer == "b"
    assert "`swish`" in finding.message
    assert "a factor of 2 is missing" in finding.message
    assert "`a.w` and `b.w`" in finding.message
    assert "head.w" not in finding.message
    assert finding.evidence["ratio"] == 0.5
    assert finding.evidence["parameters"] == 2
    assert finding.remedy == "Multiply the cotangent of `x` in the rule of `swish` by 2."


def test_the_remedy_fits_what_is_wrong() -> None:
    (flipped,) = found(rules=(custom(ratio=-1.00001),))
    assert flipped.remedy == "Change the sign of the cotangent of `x` in the rule of `swish`."
    (forward,) = found(rules=(custom(argument="", ratio=None),))
    assert forward.remedy == "Let the forward function of the rule return what `swish` itself returns."


def test_two_wrong_arguments_of_one_rule_are_one_finding() -> None:
    (finding,) = found(by_rule("a.w"), rules=(custom(argument="x"), custom(argument="slope")))
    assert finding.evidence["arguments"] == "x, slope"
    assert finding.parameter == "a.w"


def test_a_wrong_rule_that_spoils_no_parameter_is_told_all_the_same() -> None:
    (finding,) = found(leaf("a.w"), rules=(custom(ratio=None),))
    assert "It makes" not in finding.message
    assert "delete the rule" in finding.remedy


def test_a_leaf_that_is_wrong_for_another_reason_is_another_finding() -> None:
    findings = found(by_rule("a.w"), leaf("b.w", Verdict.WRONG), rules=(custom(),))
    assert sorted(f.parameter or "" for f in findings) == ["a.w", "b.w"]


def test_without_a_rule_to_blame_the_leaf_nearest_to_the_loss_is_named() -> None:
    (finding,) = found(leaf("a.w", Verdict.WRONG), leaf("b.w", Verdict.WRONG), leaf("c.w"))
    assert finding.layer == "b"
    assert finding.message.startswith("Backpropagation gives a wrong gradient for `b.w`")
    assert "`a.w`" in finding.message
    assert finding.evidence["relative_error"] == 0.5
    assert "between `b` and the loss" in finding.remedy


@pytest.mark.parametrize(("limit", "count"), [(0.499, 1), (0.501, 0)])
def test_the_limit_is_the_relative_error(limit: float, count: int) -> None:
    assert len(found(leaf("a.w", Verdict.WRONG), limit=limit)) == count
    assert len(found(rules=(custom(),), limit=limit)) == count


def test_a_rule_whose_error_is_not_a_number_is_not_below_any_limit() -> None:
    assert len(found(rules=(custom(relative_error=float("nan")),))) == 1


def test_elements_are_told_where_their_leaf_looks_right() -> None:
    def element(*index: int, verdict: Verdict = Verdict.WRONG) -> ElementCheck:
        return ElementCheck("a.w", index, verdict, 0.0, 1.0, 1e-9)

    elements = (element(1, 2), element(0, 0, verdict=Verdict.RIGHT))
    (finding,) = found(leaf("a.w"), elements=elements)
    assert "1 of 2 elements of `a.w`" in finding.message
    assert "[1][2]" in finding.message
    assert len(found(leaf("a.w", Verdict.WRONG), elements=elements)) == 1


def test_modes_that_disagree_are_a_finding() -> None:
    (finding,) = found(transposition=Transposition(Verdict.WRONG, "", 1.0, 2.0, 1e-12))
    assert "reverse mode 2" in finding.message
    assert found(transposition=Transposition(Verdict.CANNOT_JUDGE, "", 1.0, 2.0, 1e-12)) == []
