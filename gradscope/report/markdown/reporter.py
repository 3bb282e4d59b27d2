"""Markdown for a comment on a pull request or a step summary: one report, or a table of targets and theirs.

A comment holds 65,536 characters. Where the whole does not fit the tables of layers go first, and the page
says what it left out; with `--all` everything stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TextIO

from gradscope.language import translate
from gradscope.records import Outcome, Report, Suite, TargetError
from gradscope.report.markdown.marks import MARKS, code, prose, table, to_do
from gradscope.report.markdown.report import Detail, blocks
from gradscope.report.shared.base import View
from gradscope.report.shared.glyphs import visible
from gradscope.report.shared.table import filled
from gradscope.report.shared.targets import columns, style, totals, unexamined

LONGEST = 65_000
"""Some room is left for a heading that a workflow puts before it."""
LEVELS = (
    (Detail(), ""),
    (Detail(layers=False), "the tables of layers"),
    (Detail(layers=False, notes=False), "the tables of layers, and the notes"),
    (
        Detail(layers=False, notes=False, findings=3),
        "the tables of layers, the notes, and all but three findings of each target",
    ),
)


class MarkdownReporter:
    def render(self, suite: Suite, out: TextIO, view: View) -> None:
        out.write(page(suite, view))


REPORTER = MarkdownReporter()


def page(suite: Suite, view: View) -> str:
    """As much as fits; the first lines are the verdict whatever was left out."""
    if view.show_all:
        every = Detail(not view.quiet, not view.quiet, None, all_layers=True)
        return "".join(f"{part}\n" for part in _page(suite, every))
    text, left_out = "", ""
    for detail, left_out in LEVELS:
        if view.quiet and (detail.layers or detail.notes):
            continue
        text, whole = _fitting(_page(suite, detail), LONGEST - size(_left_out(left_out)))
        if whole:
            # With --quiet nobody asked for the tables.
            return text + _left_out("" if view.quiet else left_out)
    return text + _left_out(f"{left_out}; and all that would follow here")


def _fitting(parts: Iterable[str], room: int) -> tuple[str, bool]:
    """Whole parts from the first on, since half of one would leave marks open; and whether that is all."""
    kept: list[str] = []
    for part in parts:
        room -= size(part) + 1
        if room < 0:
            return "".join(kept), False
        kept.append(f"{part}\n")
    return "".join(kept), True


def size(text: str) -> int:
    """As GitHub counts: in UTF-16, where a character outside the basic plane counts twice."""
    return len(text.encode("utf-16-le", "replace")) // 2


def _page(suite: Suite, detail: Detail) -> Iterator[str]:
    if suite.only is not None:
        yield from blocks(suite.only, detail, fails=bool(suite.outcomes[0].failures))
        return
    failing = any(outcome.failures for outcome in suite.outcomes)
    mark = "error" if failing else "warning" if len(suite.reports) < len(suite.outcomes) else "healthy"
    yield f"### {MARKS[mark]} {translate(totals(suite))}\n"
    if not suite.outcomes:
        return
    if said := unexamined(suite):
        yield f"{translate(said)}\n"
    yield from _rows(suite)
    yield ""
    for outcome in suite.outcomes:
        yield from _section(outcome, detail)


def _rows(suite: Suite) -> list[str]:
    used = filled(columns(suite))
    titles = ["", "target", *(column.heading for column in used)]
    lines = [
        [MARKS[style(outcome)], code(outcome.target), *(column.cells[place] for column in used)]
        for place, outcome in enumerate(suite.outcomes)
    ]
    return table(titles, lines)


def _section(outcome: Outcome, detail: Detail) -> Iterator[str]:
    """Of a target about which the table does not say everything."""
    report = outcome.report
    if outcome.error is not None:
        yield from _not_judged(outcome.target, outcome.error)
    elif report is not None and _has_more(report, detail):
        yield from blocks(report, detail, "####", fails=bool(outcome.failures))
        yield ""


def _has_more(report: Report, detail: Detail) -> bool:
    baseline = report.baseline
    gaps = (report.notes or report.skipped or report.unseen) and detail.notes
    changed = baseline is not None and (baseline.fixed or baseline.stale)
    return bool(report.findings or gaps or changed or report.optimizers or report.rates)


def _not_judged(target: str, error: TargetError) -> Iterator[str]:
    yield f"#### {MARKS['warning']} {translate('not judged')}: {code(target)}\n"
    yield " ".join(prose(part) for part in (error.what, error.why) if part) + "\n"
    if lines := [visible(line) for line in error.details.splitlines() if line.strip()]:
        yield "\n".join(f"    {line}" for line in lines) + "\n"
    if error.fix:
        yield f"{to_do(error.fix)}\n"


def _left_out(what: str) -> str:
    if not what:
        return ""
    said = f"Left out, since a comment holds 65,536 characters: {what}. `--all` shows everything."
    return f"\n{translate(said)}\n"
