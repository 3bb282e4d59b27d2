"""Everything around the layer table: the verdict, the findings, time, what was not judged, the last line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from gradscope.records import Finding, Number, Recurrence, Report, Severity, Source
from gradscope.report.shared import units
from gradscope.report.shared.base import View
from gradscope.report.shared.glyphs import Glyphs
from gradscope.report.shared.standing import in_baseline, remarks
from gradscope.report.terminal.bars import BROKEN, sparkline
from gradscope.report.terminal.gradients import tally
from gradscope.report.terminal.lines import Line, crop, fold, paragraph, width_of

INDENT = 2
NOTE = "note"
"""`Skipped.what` of a remark: nothing was skipped."""
UNSEEN = "not seen: run as it is, without looking inside"
MOST_FINDINGS = 20
"""Shown without `--all`; the gravest come first."""
LONGEST_LINE = 110
"""Prose is hard to read across a wide terminal."""


def verdict(report: Report, width: int, glyphs: Glyphs) -> list[Line]:
    style = "healthy" if report.verdict == "healthy" else "error"
    mark = glyphs.marks[style]
    measured = report.measurement
    where = units.counted(len(measured.layers), "layer")
    if measured.gradients and not measured.layers:  # `verify` alone
        where = tally(measured.gradients)
    found = f"{by_severity(report.findings) or 'nothing found'} in {where}{in_baseline(report.findings)}"
    text = f"{glyphs.text(report.target)}: {found}"
    return paragraph(text, width, 0, "strong", lead=(f"{mark} {report.verdict}  ", style))


def by_severity(found: Sequence[Finding]) -> str:
    """`2 errors, 1 note`; empty where there is nothing."""
    counts = Counter(finding.severity for finding in found)
    return ", ".join(
        units.counted(counts[severity], severity.value) for severity in Severity if counts[severity]
    )


def findings(report: Report, view: View, glyphs: Glyphs) -> list[Line]:
    ranked = sorted(report.findings, key=lambda finding: finding.severity.rank)
    shown = ranked if view.show_all else ranked[:MOST_FINDINGS]
    width = min(view.width, LONGEST_LINE)
    lines: list[Line] = []
    for finding in shown:
        lines += [[], *finding_lines(finding, width, glyphs)]
        lines += evidence(finding, width, glyphs) if view.verbose else []
    if len(ranked) > len(shown):
        rest = units.counted(len(ranked) - len(shown), "more finding")
        lines += [[], [(f"{glyphs.ellipsis} {rest}: --all shows every one", "quiet")]]
    return lines


def finding_lines(finding: Finding, width: int, glyphs: Glyphs) -> list[Line]:
    severity, rule = finding.severity.value, glyphs.text(finding.rule)
    where = finding.layer or finding.parameter
    head: Line = [(severity, severity), (" ", ""), (rule, "strong")]
    lines: list[Line] = [head]
    if where:
        used = width_of(f"{severity} {rule} in ")
        pieces = fold(glyphs.text(where), max(20, width - used))
        inline = used + width_of(pieces[0]) <= width
        if inline:
            head += [(" in ", "quiet"), (pieces[0], "")]
        lines += [[(" " * INDENT + piece, "")] for piece in pieces[1 if inline else 0 :]]
    if note := remarks(finding):
        if len(lines) == 1 and width_of("".join(text for text, _ in head)) + 2 + width_of(note) <= width:
            head.append((f"  {note}", "quiet"))
        else:
            lines += paragraph(note, width, INDENT, "quiet")
    if finding.source is not None:
        lines += source_line(finding.source, width, glyphs)
    lines += paragraph(glyphs.text(finding.message), width, INDENT)
    lead = (f"{glyphs.arrow} ", "remedy")
    return lines + paragraph(glyphs.text(finding.remedy), width, INDENT, "", lead)


def evidence(finding: Finding, width: int, glyphs: Glyphs) -> list[Line]:
    """The numbers that the rule went by, under the names that the JSON gives them."""
    facts = [f"{name} {_fact(value)}" for name, value in finding.evidence.items()]
    lines = _joined(facts, width - INDENT, glyphs)
    return [[(" " * INDENT, ""), *line] for line in lines]


def _fact(value: Number) -> str:
    return units.number(value) if isinstance(value, float) else str(value)


def source_line(source: Source, width: int, glyphs: Glyphs) -> list[Line]:
    """The place, never cut, and beside it as much of the line as fits."""
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


def recurrences(report: Report, width: int, glyphs: Glyphs) -> list[Line]:
    lines: list[Line] = []
    for recurrence in report.measurement.recurrences:
        lines += [[], *_recurrence(recurrence, width, glyphs)]
    return lines


def _recurrence(recurrence: Recurrence, width: int, glyphs: Glyphs) -> list[Line]:
    title = f"{glyphs.text(recurrence.name)}: {glyphs.delta} of the state over "
    title += units.counted(recurrence.length, "time step")
    lines = paragraph(title, width, 0, "strong")
    source = recurrence.source
    if source is not None and str(source) in recurrence.name:
        text = crop(glyphs.text(source.text), width - INDENT, glyphs.ellipsis)
        lines += [[(" " * INDENT + text, "")]] if text else []
    elif source is not None:
        lines += source_line(source, width, glyphs)
    deltas = recurrence.delta_norms
    if not deltas:
        return lines
    first, last = f"first {units.cell(deltas[0])} ", f" last {units.cell(deltas[-1])}"
    curve = sparkline(deltas, min(60, width - INDENT - len(first) - len(last)), glyphs)
    style = "bad" if BROKEN in curve else "bar"
    lines.append([(" " * INDENT + first, "quiet"), (curve, style), (last, "quiet")])
    return lines


def not_judged(report: Report, width: int, glyphs: Glyphs) -> list[Line]:
    """What was left out and why, and apart from it the notes: what was done, and may surprise."""
    notes = [entry for entry in report.skipped if entry.what == NOTE]
    skipped = [entry for entry in report.skipped if entry.what != NOTE]
    unseen = report.measurement.unseen
    return [
        *_entries("notes", [entry.reason for entry in notes], width, glyphs),
        *_entries("not judged", [f"{entry.what}: {entry.reason}" for entry in skipped], width, glyphs),
        *_entries(UNSEEN, [f"{entry.what}: {entry.reason}" for entry in unseen], width, glyphs),
    ]


def _entries(title: str, texts: Sequence[str], width: int, glyphs: Glyphs) -> list[Line]:
    lines: list[Line] = [[], *paragraph(title, width, 0, "strong")] if texts else []
    for text in texts:
        lines += paragraph(glyphs.text(text), min(width, LONGEST_LINE), INDENT, "quiet")
    return lines


def footer(report: Report, width: int, glyphs: Glyphs) -> list[Line]:
    measurement = report.measurement
    loss = f"loss {units.cell(measurement.loss)}"
    if measurement.loss_spread is not None:
        loss += f" (spread {units.number(measurement.loss_spread)})"
    params = sum(parameter.size for parameter in measurement.parameters)
    norm = f"gradient norm {units.cell(measurement.gradient_norm)}"
    facts = [
        loss,
        *([norm, units.counted(params, "parameter")] if measurement.parameters else []),
        f"{units.count(measurement.batches)} {'batch' if measurement.batches == 1 else 'batches'}",
        *([units.counted(len(report.seeds), "seed")] if len(report.seeds) > 1 else []),
    ]
    lines = [[], *_joined(facts, width, glyphs)]
    lines += _joined([*durations(report), f"jax {report.tool.jax} on {report.tool.backend}"], width, glyphs)
    return lines + _hint(report.findings, width, glyphs)


def durations(report: Report) -> list[str]:
    timing = report.timing
    parts = (
        ("load", timing.load_s),
        ("trace", timing.trace_s),
        ("compile", timing.compile_s),
        ("run", timing.run_s),
    )
    return [f"{name} {units.seconds(spent)}" for name, spent in parts if spent]


def _joined(facts: Sequence[str], width: int, glyphs: Glyphs) -> list[Line]:
    """Facts beside each other, broken only between two of them."""
    rows: list[str] = []
    for fact in (glyphs.text(fact) for fact in facts):
        longer = f"{rows[-1]} {glyphs.dot} {fact}" if rows else fact
        if rows and width_of(longer) <= width:
            rows[-1] = longer
        else:
            rows.append(fact)
    return [[(piece, "quiet")] for row in rows for piece in fold(row, width)]


def _hint(found: Sequence[Finding], width: int, glyphs: Glyphs) -> list[Line]:
    if not found:
        return []
    gravest = min(found, key=lambda finding: finding.severity.rank)
    text = f"`gradscope explain {glyphs.text(gravest.rule)}` says what it means and how it is measured."
    return paragraph(text, width, 0, "quiet")
