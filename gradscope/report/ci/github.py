"""Annotations of GitHub Actions: workflow commands on stdout, which the runner shows at the lines of a diff.

A step shows about ten of each type, so the worst are written and the others counted. What a user's file or
model is named stands in commands only, escaped as the runner reads them, or in lines that it cannot take
for a command.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TextIO

from gradscope.records import BaselineStatus, Outcome, Severity, Suite
from gradscope.report.ci.places import (
    Placed,
    error_text,
    file_of,
    gaps,
    line_of,
    one_line,
    placed,
)
from gradscope.report.shared import units
from gradscope.report.shared.base import View
from gradscope.report.shared.baseline import fixed_text, remarks
from gradscope.report.shared.glyphs import visible
from gradscope.report.shared.targets import totals, unexamined
from gradscope.report.shared.wording import headline

MOST = 10
TYPES = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


class GithubReporter:
    def render(self, suite: Suite, out: TextIO, view: View) -> None:
        for line in _lines(suite, view):
            out.write(line + "\n")


REPORTER = GithubReporter()


def _lines(suite: Suite, view: View) -> Iterator[str]:
    missing = [_missing(outcome) for outcome in suite.outcomes if outcome.error is not None]
    found = [each for outcome in suite.outcomes for each in placed(outcome)]
    # What fails the gate comes first: of ten that are shown it must not be the eleventh.
    found.sort(key=lambda each: not each.outcome.policy.fails(each.finding))
    for severity, kind in TYPES.items():
        commands = missing if severity is Severity.ERROR else []
        commands = [*commands, *(_finding(each, kind) for each in found if _shown(each, severity))]
        yield from commands[:MOST]
        if len(commands) > MOST:
            yield f"gradscope: {units.counted(len(commands) - MOST, f'more {kind}')} not annotated"
    if not view.quiet:
        for outcome in suite.outcomes:
            yield from _remarks(outcome)
    yield plain(_summary(suite))


def _summary(suite: Suite) -> str:
    report = suite.only
    if report is None:
        return f"{totals(suite)} {unexamined(suite)}".strip()
    return f"{report.verdict}: {report.target}: {headline(report).text}"


def _shown(each: Placed, severity: Severity) -> bool:
    """What the baseline knows is no news on a pull request."""
    return each.finding.severity is severity and each.finding.baseline_status is not BaselineStatus.UNCHANGED


def _finding(each: Placed, kind: str) -> str:
    finding = each.finding
    note = remarks(finding)
    lines = [each.message, f"What to do: {one_line(finding.remedy)}", note]
    return command(
        kind,
        "\n".join(line for line in lines if line),
        title=f"gradscope ({one_line(finding.rule)})",
        file=visible(each.source.file),
        line=str(line_of(each.source)),
    )


def _missing(outcome: Outcome) -> str:
    assert outcome.error is not None
    details = outcome.error.details.splitlines()
    text = [f"{visible(outcome.target)}: {error_text(outcome.error)}", *map(visible, details)]
    return command(
        "error", "\n".join(text), title="gradscope (not judged)", file=visible(file_of(outcome)), line="1"
    )


def _remarks(outcome: Outcome) -> Iterable[str]:
    """Lines of the log: what was left out, and what the baseline says of the run as a whole."""
    baseline = outcome.report.baseline if outcome.report else None
    texts = [f"note: {note}" for note in outcome.report.notes] if outcome.report else []
    texts += gaps(outcome)
    if baseline is not None:
        texts += [f"fixed since the baseline: {fixed_text(known)}" for known in baseline.fixed]
        texts += [f"the baseline is stale: {one_line(baseline.stale)}"] if baseline.stale else []
    return [plain(f"{outcome.target}: {text}") for text in texts]


def plain(text: str) -> str:
    """A line of the log that is no command: those begin with `::`, or hold the older `##[`."""
    return f"gradscope: {one_line(text)}".replace("##[", "## [")


def command(kind: str, message: str, **properties: str) -> str:
    given = ",".join(f"{key}={_property(value)}" for key, value in properties.items() if value)
    return f"::{kind} {given}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
