"""Code quality of GitLab: a list of issues, which a merge request compares with those of the target branch.

It drops issues of one fingerprint, and shows the description alone: the rule stands in it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePath
from typing import Any, TextIO

from gradscope.records import Outcome, Severity, Source, Suite
from gradscope.report.ci.places import Placed, error_text, file_of, gaps, line_of, one_line, placed
from gradscope.report.shared.base import View
from gradscope.report.shared.baseline import remarks
from gradscope.report.shared.glyphs import visible

SEVERITIES = {Severity.ERROR: "major", Severity.WARNING: "minor", Severity.NOTE: "info"}
MISSING = "not-judged"


class GitlabReporter:
    def render(self, suite: Suite, out: TextIO, view: View) -> None:
        issues = [issue for outcome in suite.outcomes for issue in _issues(outcome)]
        out.write(json.dumps(issues, indent=1, allow_nan=False) + "\n")


REPORTER = GitlabReporter()


def _issues(outcome: Outcome) -> list[dict[str, Any]]:
    issues = [_finding(each) for each in placed(outcome)]
    if outcome.error is not None:
        issues.append(_missing(outcome, f"not judged: {error_text(outcome.error)}", "critical", "target"))
    # What was left out before stands in the report of the target branch, too: only what is new is shown.
    for place, gap in enumerate(dict.fromkeys(gaps(outcome))):
        issues.append(_missing(outcome, gap, "info", str(place)))
    return issues


def _finding(each: Placed) -> dict[str, Any]:
    finding = each.finding
    where = f" in {visible(each.where)}" if each.where else ""
    note = remarks(finding)
    said = one_line(finding.message, finding.remedy)
    return _issue(
        f"{visible(finding.rule)}{where}{f' ({note})' if note else ''}: {said}",
        visible(finding.rule),
        each.fingerprint,
        SEVERITIES[finding.severity],
        each.source,
    )


def _missing(outcome: Outcome, text: str, severity: str, key: str) -> dict[str, Any]:
    fingerprint = hashlib.sha256("\0".join((outcome.target, MISSING, text, key)).encode("utf-8", "replace"))
    return _issue(
        f"{visible(outcome.target)}: {text}",
        MISSING,
        fingerprint.hexdigest(),
        severity,
        Source(file_of(outcome), 1),
    )


def _issue(text: str, name: str, fingerprint: str, severity: str, source: Source) -> dict[str, Any]:
    return {
        "description": text,
        "check_name": name,
        "fingerprint": fingerprint,
        "severity": severity,
        # `PurePath` drops a leading `./`, which GitLab does not find.
        "location": {
            "path": visible(PurePath(source.file).as_posix()),
            "lines": {"begin": line_of(source)},
        },
    }
