"""What changed between two runs, at a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from gradscope.records import Finding
from gradscope.records.diff import Changes, LayerChange, Presence, SuiteChanges
from gradscope.report.shared import units
from gradscope.report.shared.base import Line, View
from gradscope.report.shared.diff import (
    ALIKE,
    MARKS,
    NEW,
    NUMBERS,
    factor,
    from_to,
    groups,
    named,
    presence,
    shown_layers,
    values,
)
from gradscope.report.shared.table import Column
from gradscope.report.terminal.grid import GridRow, grid
from gradscope.report.terminal.lines import LONGEST_LINE, paragraph, print_lines
from gradscope.report.terminal.sections import finding_lines


def render(found: SuiteChanges, out: TextIO, view: View) -> None:
    view = view.on(out)
    lines: list[Line] = []
    for each in found.targets:
        lines += [*([[]] if lines else []), *_lines(each, view)]
    for text in presence(found):
        lines += [*([[]] if lines else []), *paragraph(text, view, 0, "strong")]
    print_lines(lines, out, view.color)


def _lines(found: Changes, view: View) -> list[Line]:
    lines = _head(found, view)
    if not view.quiet:
        lines += _table(found, view)
    for title, findings in groups(found):
        lines += [[], *paragraph(title, view, 0, "strong")]
        for finding in findings:
            lines += _finding(finding, title == NEW, view)
    if found.same_findings:
        count = units.counted(len(found.same_findings), "finding")
        lines += [[], *paragraph(f"{count} in both runs.", view, 0, "quiet")]
    return lines


def _head(found: Changes, view: View) -> list[Line]:
    new, gone, same = map(len, (found.new_findings, found.gone_findings, found.same_findings))
    style = "healthy" if found.new.verdict == "healthy" else "error"
    lead = (f"{view.glyphs.marks[style]} {found.new.verdict}  ", style)
    before = "" if found.old.verdict == found.new.verdict else f", was {found.old.verdict}"
    title = f"{from_to(found.old.target, found.new.target)}{before}"
    text = f"{title}; findings: {new} new, {gone} gone, {same} the same"
    lines = paragraph(text, view, 0, "strong", lead)
    facts = f"loss {values(found.loss)} · gradient norm {values(found.gradient_norm)}"
    return [*lines, *paragraph(facts, view, 0, "quiet")]


def _table(found: Changes, view: View) -> list[Line]:
    shown, alike, less = shown_layers(found, view.show_all)
    ellipsis = view.glyphs.ellipsis
    lines: list[Line] = [[]]
    if shown:
        rows = [
            GridRow(
                view.glyphs.text(layer.name),
                MARKS[layer.presence],
                "strong" if layer.presence is not Presence.BOTH else "",
            )
            for layer in shown
        ]
        lines += grid("layer", rows, _columns(shown, view), view.width)
        lines += [[], *paragraph(_caption(shown), view, 2, "quiet")]
    if less:
        text = f"{ellipsis} {units.counted(less, 'more layer')} changed less: --all shows every one"
        lines += paragraph(text, view, 2, "quiet")
    if alike:
        text = f"{ellipsis} {units.counted(alike, 'layer')} as before (within 1%)"
        lines += paragraph(text, view, 2, "quiet")
    return lines if len(lines) > 1 else []


def _columns(shown: Sequence[LayerChange], view: View) -> list[Column]:
    text, columns = view.glyphs.text, []
    for priority, (title, number) in enumerate(NUMBERS.items()):
        cells = [text(factor(number(layer))) for layer in shown]
        styles = [
            "bad" if "NaN" in cell or "inf" in cell else "quiet" if cell in "=-" else "" for cell in cells
        ]
        columns.append(Column((text(title[0]), title[1]), priority, cells, styles))
    largest = [text(_largest(layer)) for layer in shown]
    return [*columns, Column(("", "largest change"), 9, largest, ["quiet"] * len(largest), right=False)]


def _largest(layer: LayerChange) -> str:
    if layer.presence is not Presence.BOTH:
        return "only in the new run" if layer.presence is Presence.NEW else "only in the old run"
    title, number = max(NUMBERS.items(), key=lambda entry: entry[1](layer).size)
    return f"{title[0]} {values(number(layer))}" if number(layer).size > ALIKE else ""


def _caption(shown: Sequence[LayerChange]) -> str:
    marked = any(layer.presence is not Presence.BOTH for layer in shown)
    return "×: new run over old run" + ("; + and -: only in the new, only in the old run" if marked else "")


def _finding(finding: Finding, whole: bool, view: View) -> list[Line]:
    if whole:
        return [[], *finding_lines(finding, view.at_most(LONGEST_LINE))]
    lead = (f"{finding.severity.value} ", finding.severity.value)
    return paragraph(named(finding), view, 2, "", lead)
