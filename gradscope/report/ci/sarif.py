"""SARIF 2.1.0 as code scanning takes it: what GitHub asks for goes beyond the schema.

It reads the first location alone, and of the fingerprints only `primaryLocationLineHash`. A hash of the line,
as its upload action would make it, could not tell two layers of one line apart: this one is of the layer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any, TextIO
from urllib.parse import quote

from gradscope import __version__
from gradscope.records import BaselineStatus, Finding, Outcome, Severity, Source, Suite
from gradscope.report.ci.edits import fixes
from gradscope.report.ci.places import Placed, error_text, file_of, line_of, one_line, placed, remarks_of
from gradscope.report.shared.base import View
from gradscope.report.shared.baseline import fixed_text
from gradscope.report.shared.glyphs import visible
from gradscope.rules import Rule, all_rules
from gradscope.serialization.codec import encode

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LONGEST_DESCRIPTION = 1024
"""Of what code scanning shows."""
PROBLEM_SEVERITY = {"error": "error", "warning": "warning", "note": "recommendation"}
BASELINE_STATE = {
    BaselineStatus.NEW: "new",
    BaselineStatus.UNCHANGED: "unchanged",
    BaselineStatus.WORSE: "updated",
}


class SarifReporter:
    def render(self, suite: Suite, out: TextIO, view: View) -> None:
        log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [_run(suite)]}
        out.write(json.dumps(log, indent=1, allow_nan=False) + "\n")


REPORTER = SarifReporter()


def _run(suite: Suite) -> dict[str, Any]:
    found = [each for outcome in suite.outcomes for each in placed(outcome)]
    rules = [_descriptor(rule) for rule in all_rules()]
    ours = {rule["id"] for rule in rules}
    foreign = dict.fromkeys(rule_id(each.finding) for each in found)
    rules += [_unknown(name) for name in foreign if name not in ours]
    index = {rule["id"]: place for place, rule in enumerate(rules)}
    # By the specification either all results of a run say whether they are suppressed, or none.
    compared = any(each.finding.baseline_status is not None for each in found)
    return {
        "tool": {"driver": {"name": "gradscope", "semanticVersion": _version(suite), "rules": rules}},
        "automationDetails": {"id": category(suite)},
        "columnKind": "unicodeCodePoints",
        "invocations": [_invocation(suite)],
        "results": [_result(each, index, compared) for each in found],
    }


def category(suite: Suite) -> str:
    """What stands before the last slash keeps the alerts of one target apart from those of another."""
    name = visible(suite.outcomes[0].target) if suite.alone else ""
    return f"gradscope/{name.strip('/')}/" if name else "gradscope/"


def rule_id(finding: Finding) -> str:
    return visible(finding.rule) or "unnamed"


def _version(suite: Suite) -> str:
    return next((visible(report.tool.gradscope) for report in suite.reports), "") or __version__


def _descriptor(rule: Rule) -> dict[str, Any]:
    body = one_line(*rule.page.partition("## What it does\n")[2].partition("\n## ")[0].splitlines())
    return _rule(rule.name, rule.summary, body, rule.page, rule.severity, (rule.family,))


def _unknown(name: str) -> dict[str, Any]:
    said = f"{name}: a rule that this version of gradscope does not have."
    return _rule(name, said, said, said, Severity.WARNING, ())


def _rule(
    name: str, summary: str, description: str, page: str, severity: Severity, tags: Iterable[str]
) -> dict[str, Any]:
    return {
        "id": name,
        "shortDescription": {"text": summary[:LONGEST_DESCRIPTION]},
        "fullDescription": {"text": (description or summary)[:LONGEST_DESCRIPTION]},
        "help": {"text": page, "markdown": page},
        "defaultConfiguration": {"level": severity.value},
        "properties": {
            "tags": ["gradients", *tags],
            "precision": "high",
            "problem.severity": PROBLEM_SEVERITY[severity.value],
        },
    }


def _result(each: Placed, index: dict[str, int], compared: bool) -> dict[str, Any]:
    finding = each.finding
    name = rule_id(finding)
    result: dict[str, Any] = {
        "ruleId": name,
        "ruleIndex": index[name],
        "level": finding.severity.value,
        "message": {"text": message(f"{each.message} {one_line(finding.remedy)}".strip()) or name},
        "locations": [_location(each.source, each.where)],
        "partialFingerprints": {
            # The form of CodeQL's own: sixteen digits, and a count of equal ones.
            "primaryLocationLineHash": f"{each.fingerprint[:16]}:1",
            "gradscopeFinding/v1": json.dumps([*each.key, each.repeat]),
        },
        "properties": {
            "target": visible(each.outcome.target),
            "failsTheGate": each.outcome.policy.fails(finding),
            "evidence": encode(finding.evidence),
            "remedy": one_line(finding.remedy),
        },
    }
    report = each.outcome.report
    if report is not None and (edits := fixes(finding, report.remedies, uri)):
        result["fixes"] = edits
    if finding.votes is not None:
        result["properties"]["votes"] = encode(finding.votes)
    if finding.baseline_status is not None:
        result["baselineState"] = BASELINE_STATE[finding.baseline_status]
    if compared:
        result["suppressions"] = _suppressions(each)
    return result


def _suppressions(each: Placed) -> list[dict[str, str]]:
    if each.finding.baseline_status is not BaselineStatus.UNCHANGED:
        return []
    report = each.outcome.report
    file = report.baseline.file if report and report.baseline else ""
    return [{"kind": "external", "justification": f"in the baseline {visible(file)}".strip()}]


def _location(source: Source, where: str = "") -> dict[str, Any]:
    line, text = line_of(source), visible(source.text)
    # The text is without its indent: from column 1 as many columns, which never reach beyond the line.
    region: dict[str, Any] = {
        "startLine": line,
        "startColumn": 1,
        "endLine": line,
        "endColumn": len(source.text) + 1,
    }
    if text:
        region["snippet"] = {"text": text}
    place: dict[str, Any] = {
        "physicalLocation": {"artifactLocation": {"uri": uri(source.file)}, "region": region}
    }
    if where:
        place["logicalLocations"] = [{"fullyQualifiedName": visible(where), "kind": "layer"}]
    return place


def uri(file: str) -> str:
    """Relative to the working directory, or a `file://` URI where it lies outside."""
    path = PurePath(file or "unknown")
    if path.parts[:1] == ("..",):
        path = PurePath(os.path.abspath(path))
    text = quote(path.as_posix().encode("utf-8", "replace"), safe="/")
    return f"file://{text}" if path.is_absolute() else text


def message(text: str) -> str:
    """`[a](b)` would be a link in a message of SARIF."""
    return text.replace("](", "] (")


def _invocation(suite: Suite) -> dict[str, Any]:
    notifications = [each for outcome in suite.outcomes for each in _notifications(outcome)]
    return {
        "executionSuccessful": all(outcome.report is not None for outcome in suite.outcomes),
        "toolExecutionNotifications": notifications,
    }


def _notifications(outcome: Outcome) -> list[dict[str, Any]]:
    report, target = outcome.report, visible(outcome.target)
    notes = []
    if outcome.error is not None:
        kind, said = outcome.error.kind.value, error_text(outcome.error)
        notes.append(("error", f"{target} was not judged ({kind}): {said}"))
    notes += [("note", f"{target}: {text}") for text in remarks_of(outcome)]
    baseline = report.baseline if report is not None else None
    if baseline is not None:
        notes += [("note", f"{target}: fixed: {fixed_text(known)}") for known in baseline.fixed]
        notes += [("warning", f"{target}: {one_line(baseline.stale)}")] if baseline.stale else []
    place = [_location(Source(file_of(outcome), 1))]
    return [{"level": level, "message": {"text": message(text)}, "locations": place} for level, text in notes]
