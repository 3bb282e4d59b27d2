"""`unverifiable-gradient` on records made by hand."""

from __future__ import annotations

from gradscope.records import Finding, GradientCheck, RuleCheck, Severity, Source, Verdict, Verification
from gradscope.rules import Parts, judge
from tests.rules.correctness.test_wrong_gradient import RULE, custom, leaf

STOP = Source("model.py", 30, "y = jax.lax.stop_gradient(y)")


def unsure(name: str, cause: str, source: Source | None = None) -> GradientCheck:
    return leaf(name, Verdict.CANNOT_JUDGE, cause=cause, reason=f"because of {cause}", source=source)


def found(*gradients: GradientCheck, rules: tuple[RuleCheck, ...] = ()) -> list[Finding]:
    verified = Verification(1.0, gradients, custom_rules=rules)
    return list(judge(Parts(gradients=verified), select=("unverifiable-gradient",))[0])


def test_what_is_right_or_wrong_is_not_unverifiable() -> None:
    assert found(leaf("a.w"), leaf("b.w", Verdict.WRONG), rules=(custom(),)) == []


def test_leaves_of_one_reason_are_one_note_that_names_them() -> None:
    (finding,) = found(unsure("a.w", "kink"), unsure("b.w", "kink"), leaf("c.w"))
    assert finding.severity is Severity.NOTE
    assert "`a.w` and `b.w` cannot be judged: because of kink" in finding.message
    assert finding.evidence == {"cause": "kink", "parameters": 2}


def test_a_random_loss_is_a_warning() -> None:
    (finding,) = found(unsure("a.w", "nondeterministic"))
    assert finding.severity is Severity.WARNING
    assert "key" in finding.remedy


def test_a_stop_gradient_is_named_by_its_line() -> None:
    other = Source("model.py", 40, "z = stop_gradient(z)")
    first, second = (unsure(name, "stop-gradient", STOP) for name in ("a.w", "b.w"))
    findings = found(first, second, unsure("c.w", "stop-gradient", other))
    assert [finding.source for finding in findings] == [STOP, other]
    assert all(finding.severity is Severity.NOTE for finding in findings)


def test_a_deliberate_rule_is_one_note_with_its_own_reason() -> None:
    rule = custom(Verdict.CANNOT_JUDGE, reason="that is its purpose: a gradient reversal")
    (finding,) = found(unsure("a.w", "custom-rule", RULE), rules=(rule,))
    assert finding.source == RULE
    assert "gradient reversal" in finding.message
    assert "`a.w`" in finding.message
    assert finding.severity is Severity.NOTE


def test_every_reason_that_is_measured_has_a_remedy() -> None:
    causes = ("noise", "kink", "jumps", "no-move", "unsettled", "non-finite", "stop-gradient")
    findings = found(*(unsure(f"{cause}.w", cause) for cause in causes))
    assert len(findings) == len(causes)
    assert all(finding.remedy for finding in findings)
    (unsettled,) = found(unsure("a.w", "unsettled"))
    assert "a comparison that holds at this point only" in unsettled.remedy
