"""Plain lines for a program that edits code by what it reads: what is wrong, where, by which number, and the
two commands that try an edit and that verify it. Short, since it is paid for by the token.

Names and texts that come from a model or a file are one line each, escaped, and cut.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TextIO

from gradscope.records import Finding, Number, Outcome, Remedies, Report, Severity, Source, Suite
from gradscope.report.ci.places import Placed, error_text, one_line, placed
from gradscope.report.shared import (
    cost,
    curvature,
    history,
    memory,
    optimizers,
    precision,
    remedies,
    units,
)
from gradscope.report.shared.base import View
from gradscope.report.shared.glyphs import visible
from gradscope.report.shared.remedies import lines_of_edit
from gradscope.report.shared.targets import totals
from gradscope.report.shared.training import sentence
from gradscope.report.shared.wording import by_severity, headline
from gradscope.rules import sources

MOST = 5
"""Findings, of all targets together."""
NAME, CODE, FIRST, NEXT, SAID = 60, 90, 260, 100, 240
"""Characters of a name, of a source line, of the message and the remedy of the first finding, of the remedy
of later ones, and of any other sentence."""
EVIDENCE = 3
EDIT = 40
"""Lines of a diff."""
TARGETS = 20


class AgentReporter:
    def render(self, suite: Suite, out: TextIO, view: View) -> None:
        for line in _lines(suite, view.show_all):
            out.write(line + "\n")


REPORTER = AgentReporter()


def _lines(suite: Suite, everything: bool) -> Iterator[str]:
    if not suite.alone:
        yield cut(totals(suite), SAID)
    for outcome in suite.outcomes[:TARGETS]:
        yield _verdict(outcome)
        if suite.alone and outcome.report is not None:
            yield from (cut(text, SAID) for text in _told(outcome.report))
    if len(suite.outcomes) > TARGETS:
        yield f"{units.counted(len(suite.outcomes) - TARGETS, 'more target')}: --format json"
    found = sorted(
        (each for outcome in suite.outcomes for each in placed(outcome)),
        key=lambda each: (not each.outcome.policy.fails(each.finding), each.finding.severity.rank),
    )
    shown = found if everything else found[:MOST]
    remedies_of = [each.finding.remedy for each in shown]
    for place, each in enumerate(shown):
        yield from _finding(place + 1, each, remedies_of.index(each.finding.remedy) + 1)
    if len(found) > len(shown):
        rest = by_severity([each.finding for each in found[len(shown) :]])
        yield f"not shown: {rest} (--all)"
    for outcome in suite.outcomes[:TARGETS]:
        yield from _next(outcome)


def _verdict(outcome: Outcome) -> str:
    target = cut(outcome.target, NAME)
    if outcome.report is None:
        assert outcome.error is not None
        return f"not judged: {target}: {cut(error_text(outcome.error), 2 * SAID)}"
    found = headline(outcome.report)
    gate = " (the gate fails)" if outcome.failures and outcome.report.verdict == "healthy" else ""
    return f"{found.verdict}: {target}: {cut(found.text, SAID)}{gate}"


def _told(report: Report) -> Iterator[str]:
    """What was measured beside the findings, in a sentence or two."""
    if report.remedies is not None:
        yield from islice(remedies.summary(report.remedies), 3)
    if report.optimizers is not None:
        best = report.optimizers.best
        if best is None:
            yield optimizers.without_best(report.optimizers)
        else:
            yield f"{best.name}: {optimizers.standing(report.optimizers)}"
            yield f"optimizer = {best.code}"
    if report.rates is not None and report.rates.code:
        yield optimizers.suggestion(report.rates)
        yield optimizers.pasted(report.rates)
    if report.memory is not None:
        yield from islice(memory.summary(report.memory), 2)
    if report.cost is not None:
        yield from islice(cost.summary(report.cost), 2)
    if report.curvature is not None:
        yield from curvature.brief(report.curvature)
    if report.flow is not None and report.flow.precision is not None:
        yield precision.said(report.flow.precision)
    if report.history is not None:
        yield history.sentence(report.history)
    elif report.training is not None and report.remedies is None:
        yield sentence(report.training, report.findings)


def _finding(number: int, each: Placed, same: int) -> Iterator[str]:
    """`same` is the number of the first finding with its remedy."""
    finding, first = each.finding, number == 1
    where = f" in {cut(each.where, NAME)}" if each.where else ""
    place = f" at {_place(finding.source)}" if finding.source is not None else ""
    yield f"{number}. {finding.severity.value} {one_line(finding.rule)}{where}{place}"
    if first and finding.source is not None and finding.source.text.strip():
        yield f"   code: {cut(finding.source.text, CODE)}"
    if finding.evidence:
        yield f"   measured: {', '.join(_measured(finding))}"
    if first or not finding.evidence:
        yield f"   why: {cut(finding.message, FIRST)}"
    report = each.outcome.report
    edit = _tried(finding, report.remedies if report is not None else None)
    if edit:
        yield "   edit (tried):"
        yield from (f"   {line}" for line in edit)
    elif same < number:
        yield f"   edit (suggested): as {same}"
    else:
        yield f"   edit (suggested): {cut(finding.remedy, FIRST if first else NEXT)}"


def _place(source: Source) -> str:
    return cut(str(source), 2 * NAME)


def _measured(finding: Finding) -> Iterator[str]:
    """The limit, and the first of what it was held against."""
    given = dict(finding.evidence)
    limit = given.pop("limit", None)
    for name, value in islice(given.items(), EVIDENCE):
        yield f"{one_line(name)} {_number(value)}"
    if limit is not None:
        yield f"limit {_number(limit)}"


def _number(value: Number) -> str:
    return units.number(value) if isinstance(value, float) else str(value)


def _tried(finding: Finding, found: Remedies | None) -> Sequence[str]:
    """The edit of the first remedy that this finding is gone with."""
    for tried in found.tried if found is not None else ():
        if tried.helps and finding.rule in tried.cured and tried.diff:
            lines = lines_of_edit(tried.diff)
            more = [f"... {len(lines) - EDIT} more lines: --diff"] if len(lines) > EDIT else []
            return [*map(visible, lines[:EDIT]), *more]
    return ()


def _next(outcome: Outcome) -> Iterator[str]:
    """The commands to go on with: what tries edits, and what exits with 0 when it is mended."""
    report = outcome.report
    if report is None:
        if outcome.error is not None and outcome.error.slug:
            yield f"explain: gradscope explain {outcome.error.slug}"
        return
    grave = [each for each in report.findings if each.severity is not Severity.NOTE or outcome.failures]
    if not grave:
        return
    target = shlex.quote(one_line(outcome.path or outcome.target))
    known = [rule for rule in dict.fromkeys(each.rule for each in grave) if rule in sources.files()]
    if known:
        yield f"explain: gradscope explain {known[0]}"
    fails = "" if outcome.failures else f" --fail-on {grave[0].severity.value}"
    if report.history is not None:
        yield f"verify (exit 0): gradscope monitor {target} --steps {report.history.recorded_steps}{fails}"
    elif report.memory is not None:
        yield f"verify (exit 0): gradscope memory {target}{fails}"
    elif report.cost is not None:
        yield f"verify (exit 0): gradscope cost {target}{fails}"
    elif report.flow is None and report.gradients is not None:
        yield f"verify (exit 0): gradscope verify {target}{fails}"
    elif report.flow is not None:
        if report.remedies is None:
            yield f"try edits: gradscope fix {target} --format agent"
        elif report.remedies.best is not None and not report.remedies.applied:
            yield f"apply: gradscope fix {target} --apply"
        yield f"verify (exit 0): gradscope check {target}{fails} --format agent"


def cut(text: str, room: int) -> str:
    """As one harmless line of at most so many characters."""
    line = one_line(text)
    return line if len(line) <= room else f"{line[: room - 3].rstrip()}..."
