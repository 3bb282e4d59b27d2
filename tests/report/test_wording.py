"""The verdict line: a verdict of `healthy` claims no more than was looked at."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gradscope.records import Outcome, Report, RuleCheck, Severity, Suite, Verdict, Verification
from gradscope.report.shared.wording import headline
from tests.report.canned import compared, deep, healthy, searched
from tests.report.pages import shown

VERIFIED = Verification(
    2.3, (), custom_rules=(RuleCheck("f", "custom_vjp", "x", Verdict.RIGHT, "", None, 0, 0, 1),)
)


def with_rules(count: int | None) -> Report:
    run = healthy()
    assert run.flow is not None
    return replace(run, flow=replace(run.flow, custom_rules=count))


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (None, "gradients not verified, training"),
        (0, "gradients not verified, training"),
        (1, "gradients not verified (1 custom derivative rule), training"),
        (3, "gradients not verified (3 custom derivative rules), training"),
    ],
)
def test_gradients_that_were_not_verified_are_named_with_the_number_of_custom_rules(
    count: int | None, said: str
) -> None:
    assert headline(with_rules(count)).text == f"nothing found in 4 layers; {said} not tried"


def test_verified_gradients_are_not_called_unverified() -> None:
    assert replace(with_rules(1), gradients=VERIFIED).unexamined == ("training not tried",)
    alone = replace(healthy(), flow=None, gradients=VERIFIED)
    assert alone.unexamined == ("layers not measured", "training not tried")
    assert compared().unexamined == searched().unexamined == ("layers not measured", "gradients not verified")


def test_rules_that_were_left_out_are_counted() -> None:
    assert replace(healthy(), left_out=("non-finite",)).unexamined[-1] == "1 rule left out"
    assert headline(replace(healthy(), left_out=("a", "b"))).text.endswith(
        "training not tried, 2 rules left out"
    )


def test_a_sick_verdict_makes_no_claim_about_the_rest() -> None:
    assert headline(deep()).text == "1 error in 100 layers"


@pytest.mark.parametrize(
    ("severity", "mark"),
    [(Severity.WARNING, "! no errors"), (Severity.NOTE, "✓ healthy"), (Severity.ERROR, "✗ sick")],
)
def test_a_warning_is_amber(severity: Severity, mark: str) -> None:
    run = replace(deep(), findings=(replace(deep().findings[0], severity=severity),))
    assert shown(run).startswith(mark)
    style = {"!": "warning", "✓": "healthy", "✗": "error"}[mark[0]]
    assert f'<span class="{style}">{mark[2:]}</span>' in shown(run, "html")


@pytest.mark.parametrize("name", ["terminal", "markdown", "html", "github", "json", "junit", "sarif"])
def test_every_format_with_a_verdict_says_it(name: str) -> None:
    for run in (with_rules(2), Suite((Outcome("a.py", with_rules(2)), Outcome("b.py", healthy())))):
        text = " ".join(shown(run, name).split())
        assert "not verified" in text
        assert "(2 custom derivative rules)" in text
        assert "raining not tried" in text
