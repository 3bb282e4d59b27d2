"""Several targets, as every format for people words them: their totals, and the columns of their table."""

from __future__ import annotations

from collections import Counter

from gradscope.records import BaselineStatus, Outcome, Severity, Suite
from gradscope.report.shared import units
from gradscope.report.shared.baseline import in_baseline
from gradscope.report.shared.table import Column
from gradscope.report.shared.wording import NO_ERRORS, style_of, verdict_of

NOT_JUDGED = "not judged"


def totals(suite: Suite) -> str:
    """`2 of 40 targets fail, 1 not judged: 3 errors, 1 warning (2 in the baseline).`"""
    fail = sum(bool(outcome.failures) for outcome in suite.outcomes)
    missing = sum(outcome.report is None for outcome in suite.outcomes)
    one, targets = fail == 1 or len(suite.outcomes) == 1, units.counted(len(suite.outcomes), "target")
    text = f"{units.count(fail)} of {targets} {'fails' if one else 'fail'}"
    text += f", {units.count(missing)} not judged" if missing else ""
    found = [finding for report in suite.reports for finding in report.findings]
    counts = Counter(finding.severity for finding in found)
    kinds = [units.counted(counts[severity], severity.value) for severity in Severity if counts[severity]]
    text += f": {', '.join(kinds)}" if kinds else ""
    return f"{text}{in_baseline(found)}."


def word(outcome: Outcome) -> str:
    """The verdict in one word or two."""
    return verdict_of(outcome.report) if outcome.report is not None else NOT_JUDGED


def verdict(suite: Suite) -> tuple[str, str]:
    """In words, and the style of their mark."""
    if suite.verdict != "healthy":
        return suite.verdict, "error" if suite.verdict == "sick" else "warning"
    warned = any(style_of(report) == "warning" for report in suite.reports)
    return (NO_ERRORS, "warning") if warned else (suite.verdict, "healthy")


def unexamined(suite: Suite) -> str:
    """What no verdict of these targets speaks of; empty where none was judged."""
    checked = [report for report in suite.reports if report.unexamined]
    unverified = [report for report in checked if report.gradients is None]
    rules = sum(report.flow.custom_rules or 0 for report in unverified if report.flow is not None)
    count = f" ({units.counted(rules, 'custom derivative rule')})" if rules else ""
    said = (
        [f"gradients of {units.counted(len(unverified), 'target')} not verified{count}"] if unverified else []
    )
    if any("training not tried" in report.unexamined for report in checked):
        said.append("training not tried")
    text = ", ".join(said)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def style(outcome: Outcome) -> str:
    """That of its mark: an error is what fails the gate, and a sick target that it lets pass a warning."""
    if outcome.failures:
        return "error"
    healthy = outcome.report is not None and style_of(outcome.report) == "healthy"
    return "healthy" if healthy else "warning"


def columns(suite: Suite) -> list[Column]:
    """One cell for each target; an empty column says nothing about any."""
    outcomes = suite.outcomes
    return [
        Column(("", "verdict"), 0, [word(outcome) for outcome in outcomes], right=False),
        *(
            Column(("", f"{severity.value}s"), 1, [_count(outcome, severity) for outcome in outcomes])
            for severity in Severity
        ),
        Column(("in the", "baseline"), 2, [_known(outcome) for outcome in outcomes]),
        Column(("", "layers"), 4, [_layers(outcome) for outcome in outcomes]),
        Column(("", "loss"), 3, [_loss(outcome) for outcome in outcomes]),
        Column(("gradient", "norm"), 3, [_norm(outcome) for outcome in outcomes]),
        Column(("", "time"), 5, [_time(outcome) for outcome in outcomes]),
    ]


def _count(outcome: Outcome, severity: Severity) -> str:
    count = sum(f.severity is severity for f in outcome.report.findings) if outcome.report else 0
    return units.count(count) if count else ""


def _known(outcome: Outcome) -> str:
    count = (
        sum(f.baseline_status is BaselineStatus.UNCHANGED for f in outcome.report.findings)
        if outcome.report
        else 0
    )
    return units.count(count) if count else ""


def _layers(outcome: Outcome) -> str:
    return units.count(len(outcome.report.flow.layers)) if outcome.report and outcome.report.flow else ""


def _loss(outcome: Outcome) -> str:
    return units.cell(outcome.report.loss) if outcome.report else ""


def _norm(outcome: Outcome) -> str:
    flow = outcome.report.flow if outcome.report else None
    return units.cell(flow.gradient_norm) if flow is not None else ""


def _time(outcome: Outcome) -> str:
    timing = outcome.report.timing if outcome.report else None
    spent = timing.total_s if timing else 0.0
    return units.seconds(spent) if spent else ""
