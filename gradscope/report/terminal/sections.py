"""Everything around the layer table: the verdict, the findings, time, what was not judged, the last line."""

from __future__ import annotations

from collections.abc import Sequence

from gradscope.language import between, heading, translate
from gradscope.records import Finding, Number, Recurrence, Report, Source
from gradscope.report.shared import units
from gradscope.report.shared.bars import BROKEN, sparkline
from gradscope.report.shared.base import Line, View
from gradscope.report.shared.baseline import remarks
from gradscope.report.shared.layers_after import after_table
from gradscope.report.shared.parameter_groups import group_table
from gradscope.report.shared.tasks import task_table
from gradscope.report.shared.training import WIDEST, curve as loss_curve, sentence
from gradscope.report.shared.wording import MOST_FINDINGS, durations, gaps, headline, ranked
from gradscope.report.terminal.lines import LONGEST_LINE, crop, fold, paragraph, width_of
from gradscope.report.terminal.small_tables import small_table

INDENT = 2


def verdict(report: Report, view: View) -> list[Line]:
    head = headline(report)
    lead = (f"{view.glyphs.marks[head.style]} {heading(head.verdict)}  ", head.style)
    return paragraph(f"{report.target}: {translate(head.text)}", view, 0, "strong", lead)


def findings(report: Report, view: View) -> list[Line]:
    found = ranked(report.findings)
    shown = found if view.show_all else found[:MOST_FINDINGS]
    narrow = view.at_most(LONGEST_LINE)
    lines: list[Line] = []
    for finding in shown:
        lines += [[], *finding_lines(finding, narrow)]
        lines += evidence(finding, narrow) if view.verbose else []
    if len(found) > len(shown):
        rest = units.counted(len(found) - len(shown), "more finding")
        lines += [[], *paragraph(f"{view.glyphs.ellipsis} {rest}: --all shows every one", view, 0, "quiet")]
    return lines


def finding_lines(finding: Finding, view: View) -> list[Line]:
    width, glyphs = view.width, view.glyphs
    style, rule = finding.severity.value, glyphs.text(finding.rule)
    severity = heading(style)
    where = finding.layer or finding.parameter
    head: Line = [(severity, style), (" ", ""), (rule, "strong")]
    lines: list[Line] = [head]
    if where:
        used = width_of(f"{severity} {rule}{between()}")
        pieces = fold(glyphs.text(where), max(20, width - used))
        inline = used + width_of(pieces[0]) <= width
        if inline:
            head += [(between(), "quiet"), (pieces[0], "")]
        lines += [[(" " * INDENT + piece, "")] for piece in pieces[1 if inline else 0 :]]
    if note := translate(remarks(finding)):
        if len(lines) == 1 and width_of("".join(text for text, _ in head)) + 2 + width_of(note) <= width:
            head.append((f"  {note}", "quiet"))
        else:
            lines += paragraph(note, view, INDENT, "quiet")
    if finding.source is not None:
        lines += source_line(finding.source, view)
    lines += paragraph(finding.message, view, INDENT)
    lead = (f"{glyphs.arrow} ", "remedy")
    return lines + paragraph(finding.remedy, view, INDENT, "", lead)


def evidence(finding: Finding, view: View) -> list[Line]:
    """The numbers that the rule went by, under the names that the JSON gives them."""
    facts = [f"{name} {_fact(value)}" for name, value in finding.evidence.items()]
    lines = _beside(facts, view.indented(INDENT))
    return [[(" " * INDENT, ""), *line] for line in lines]


def _fact(value: Number) -> str:
    return units.number(value) if isinstance(value, float) else str(value)


def source_line(source: Source, view: View) -> list[Line]:
    """The place, never cut, and beside it as much of the line as fits."""
    width, glyphs = view.width, view.glyphs
    place, blank = glyphs.text(str(source)), " " * INDENT
    pieces = fold(place, width - INDENT)
    lines: list[Line] = [[(blank + piece, "quiet")] for piece in pieces]
    room = width - INDENT - width_of(pieces[-1]) - 3
    if source.text and room >= 20:
        lines[-1].append((f"   {crop(glyphs.text(source.text), room, glyphs.ellipsis)}", ""))
    elif source.text:
        text = crop(glyphs.text(source.text), width - 2 * INDENT, glyphs.ellipsis)
        lines.append([(blank * 2 + text, "")])
    return lines


def recurrences(found: Sequence[Recurrence], view: View) -> list[Line]:
    lines: list[Line] = []
    for recurrence in found:
        lines += [[], *_recurrence(recurrence, view)]
    return lines


def _recurrence(recurrence: Recurrence, view: View) -> list[Line]:
    width, glyphs = view.width, view.glyphs
    steps = units.counted(recurrence.length, "time step")
    title = f"{recurrence.name}: {translate(f'{glyphs.delta} of the state over {steps}')}"
    lines = paragraph(title, view, 0, "strong")
    source = recurrence.source
    if source is not None and str(source) in recurrence.name:
        text = crop(glyphs.text(source.text), width - INDENT, glyphs.ellipsis)
        lines += [[(" " * INDENT + text, "")]] if text else []
    elif source is not None:
        lines += source_line(source, view)
    deltas = recurrence.delta_norms
    if not deltas:
        return lines
    first = f"{translate(f'first {units.cell(deltas[0])}')} "
    last = f" {translate(f'last {units.cell(deltas[-1])}')}"
    curve = sparkline(deltas, min(60, width - INDENT - width_of(first) - width_of(last)), glyphs)
    style = "bad" if BROKEN in curve else "bar"
    lines.append([(" " * INDENT + first, "quiet"), (curve, style), (last, "quiet")])
    return lines


def short_training(report: Report, view: View) -> list[Line]:
    training = report.training
    if training is None:
        return []
    lines: list[Line] = [[], *paragraph(sentence(training, report.findings), view.at_most(LONGEST_LINE))]
    curve = loss_curve(training, view.glyphs, min(WIDEST, view.width - INDENT))
    lines.append([(" " * INDENT, ""), (curve, "bad" if BROKEN in curve else "bar")])
    after = after_table(report) if view.verbose else None
    tables = [group_table(training), task_table(training), after]
    for table in tables:
        lines += [] if table is None else small_table(table, view.at_most(LONGEST_LINE))
    return lines


def not_judged(report: Report, view: View) -> list[Line]:
    """What was left out and why, and apart from it the notes: what was done, and may surprise."""
    lines: list[Line] = []
    for title, entries in gaps(report):
        lines += [[], *paragraph(title, view, 0, "strong")]
        for text in entries:
            lines += paragraph(text, view.at_most(LONGEST_LINE), INDENT, "quiet")
    return lines


def footer(report: Report, view: View) -> list[Line]:
    spent = [f"{heading(name)} {duration}" for name, duration in durations(report)]
    lines = [[], *_joined(_facts(report), view)]
    lines += _joined([*spent, f"jax {report.tool.jax} on {report.tool.backend}"], view)
    return lines + _hints(report, view)


def _facts(report: Report) -> list[str]:
    flow, loss = report.flow, f"loss {units.cell(report.loss)}"
    if flow is None:
        return (
            []
            if report.loss is None and (report.history or report.memory or report.cost) is not None
            else [loss]
        )
    if flow.loss_spread is not None:
        loss += f" (spread {units.number(flow.loss_spread)})"
    params = sum(parameter.size for parameter in flow.parameters)
    norm = f"gradient norm {units.cell(flow.gradient_norm)}"
    return [
        loss,
        *([norm, units.counted(params, "parameter")] if flow.parameters else []),
        f"{units.count(flow.batches)} {'batch' if flow.batches == 1 else 'batches'}",
        *([units.counted(len(report.seeds), "seed")] if len(report.seeds) > 1 else []),
    ]


def _joined(facts: Sequence[str], view: View) -> list[Line]:
    return _beside([translate(fact) for fact in facts], view)


def _beside(facts: Sequence[str], view: View) -> list[Line]:
    """Facts beside each other, broken only between two of them."""
    rows: list[str] = []
    for fact in map(view.glyphs.text, facts):
        longer = f"{rows[-1]} {view.glyphs.dot} {fact}" if rows else fact
        if rows and width_of(longer) <= view.width:
            rows[-1] = longer
        else:
            rows.append(fact)
    return [[(piece, "quiet")] for row in rows for piece in fold(row, view.width)]


def _hints(report: Report, view: View) -> list[Line]:
    lines: list[Line] = []
    if report.findings:
        gravest = min(report.findings, key=lambda finding: finding.severity.rank)
        text = f"`gradscope explain {gravest.rule}` says what it means and how it is measured."
        lines += paragraph(text, view, 0, "quiet")
    if report.flow is not None and report.flow.layers:
        lines += paragraph("`gradscope explain table` says what each column is.", view, 0, "quiet")
    return lines
