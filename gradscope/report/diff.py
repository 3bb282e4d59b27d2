"""What changed between two runs, for a terminal, as JSON, and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

from gradscope.records import Finding
from gradscope.records.diff import Change, Changes, LayerChange, Presence, SuiteChanges
from gradscope.report.markdown.marks import code, prose, table
from gradscope.report.shared import units
from gradscope.report.shared.base import View
from gradscope.report.shared.glyphs import Glyphs, glyphs_for
from gradscope.report.terminal.grid import Column, Row, grid
from gradscope.report.terminal.lines import Line, paragraph, print_lines
from gradscope.report.terminal.sections import LONGEST_LINE, finding_lines
from gradscope.serialization.codec import encode
from gradscope.serialization.report_json import FORMAT

ALIKE = 0.0043
"""Powers of ten: less than 1% is no change."""
NEW = "new findings"
MOST = 24
"""Layers shown without `--all`; the largest changes come first."""
NUMBERS: dict[tuple[str, str], Callable[[LayerChange], Change]] = {
    ("grad", "rms"): lambda layer: layer.gradient_rms,
    ("δ", "rms"): lambda layer: layer.delta_rms,
    ("activ.", "rms"): lambda layer: layer.activation_rms,
    ("weight", "rms"): lambda layer: layer.weight_rms,
}
MARKS = {Presence.NEW: "+", Presence.GONE: "-", Presence.BOTH: ""}


def render_terminal(found: SuiteChanges, out: TextIO, view: View) -> None:
    glyphs = glyphs_for(getattr(out, "encoding", None))
    lines: list[Line] = []
    for each in found.targets:
        lines += [*([[]] if lines else []), *_lines(each, view, glyphs)]
    for text in presence(found):
        lines += [*([[]] if lines else []), *paragraph(glyphs.text(text), view.width, 0, "strong")]
    print_lines(lines, out, view.color)


def presence(found: SuiteChanges) -> list[str]:
    """What there is nothing to compare with."""
    said = [f"Only in the new run: {', '.join(found.new)}."] if found.new else []
    said += [f"No longer judged: {', '.join(found.gone)}."] if found.gone else []
    return said or ([] if found.targets else ["Nothing was judged in both runs."])


def _lines(found: Changes, view: View, glyphs: Glyphs) -> list[Line]:
    lines = [*_head(found, view.width, glyphs)]
    if not view.quiet:
        lines += _table(found, view, glyphs)
    for title, findings in _groups(found):
        lines += [[], *paragraph(glyphs.text(title), view.width, 0, "strong")]
        for finding in findings:
            lines += _finding(finding, title == NEW, view.width, glyphs)
    if found.same_findings:
        count = units.counted(len(found.same_findings), "finding")
        lines += [[], *paragraph(f"{count} in both runs.", view.width, 0, "quiet")]
    return lines


def render_json(found: SuiteChanges, out: TextIO, view: View) -> None:
    del view
    each = [to_json(changes) for changes in found.targets]
    whole = {"format": FORMAT, "targets": each, "new": list(found.new), "gone": list(found.gone)}
    out.write(json.dumps(each[0] if found.alone else whole, indent=1, allow_nan=False) + "\n")


def render_markdown(found: SuiteChanges, out: TextIO, view: View) -> None:
    for each in found.targets:
        for block in _blocks(each, view):
            out.write(block + "\n")
    for text in presence(found):
        out.write(f"\n{prose(text)}\n")


RENDERERS: dict[str, Callable[[SuiteChanges, TextIO, View], None]] = {
    "terminal": render_terminal,
    "json": render_json,
    "markdown": render_markdown,
}


def to_json(found: Changes) -> dict[str, Any]:
    numbers = ("gradient_rms", "delta_rms", "activation_rms", "weight_rms")
    return {
        "format": FORMAT,
        "old": encode(found.old),
        "new": encode(found.new),
        "loss": _number(found.loss),
        "gradient_norm": _number(found.gradient_norm),
        "layers": [
            {
                "name": layer.name,
                "presence": layer.presence.value,
                **{name: _number(getattr(layer, name)) for name in numbers},
            }
            for layer in found.layers
        ],
        "findings": {
            "new": encode(found.new_findings),
            "gone": encode(found.gone_findings),
            "same": encode(found.same_findings),
        },
    }


def _number(change: Change) -> dict[str, Any]:
    return {"old": encode(change.old), "new": encode(change.new), "factor": encode(change.factor)}


def _head(found: Changes, width: int, glyphs: Glyphs) -> list[Line]:
    new, gone, same = map(len, (found.new_findings, found.gone_findings, found.same_findings))
    style = "healthy" if found.new.verdict == "healthy" else "error"
    lead = (f"{glyphs.marks[style]} {found.new.verdict}  ", style)
    before = "" if found.old.verdict == found.new.verdict else f", was {found.old.verdict}"
    title = f"{_from_to(found.old.target, found.new.target)}{before}"
    text = f"{title}; findings: {new} new, {gone} gone, {same} the same"
    lines = paragraph(glyphs.text(text), width, 0, "strong", lead)
    facts = f"loss {_values(found.loss)} · gradient norm {_values(found.gradient_norm)}"
    return [*lines, *paragraph(glyphs.text(facts), width, 0, "quiet")]


def _table(found: Changes, view: View, glyphs: Glyphs) -> list[Line]:
    shown, alike, less = _shown(found, view.show_all)
    lines: list[Line] = [[]]
    if shown:
        rows = [
            Row(
                glyphs.text(layer.name),
                MARKS[layer.presence],
                "strong" if layer.presence is not Presence.BOTH else "",
            )
            for layer in shown
        ]
        lines += grid("layer", rows, _columns(shown, glyphs), view.width)
        lines += [[], *paragraph(glyphs.text(_caption(shown)), view.width, 2, "quiet")]
    if less:
        text = f"{glyphs.ellipsis} {units.counted(less, 'more layer')} changed less: --all shows every one"
        lines += paragraph(text, view.width, 2, "quiet")
    if alike:
        text = f"{glyphs.ellipsis} {units.counted(alike, 'layer')} as before (within 1%)"
        lines += paragraph(text, view.width, 2, "quiet")
    return lines if len(lines) > 1 else []


def _shown(found: Changes, show_all: bool) -> tuple[Sequence[LayerChange], int, int]:
    """The layers that are shown, how many are as before, and how many changed and are not shown."""
    if show_all:
        return found.layers, 0, 0
    changed = [layer for layer in found.layers if layer.size > ALIKE]
    return changed[:MOST], len(found.layers) - len(changed), max(0, len(changed) - MOST)


def _columns(shown: Sequence[LayerChange], glyphs: Glyphs) -> list[Column]:
    columns = []
    for priority, (title, number) in enumerate(NUMBERS.items()):
        cells = [glyphs.text(factor(number(layer))) for layer in shown]
        styles = [
            "bad" if "NaN" in cell or "inf" in cell else "quiet" if cell in "=-" else "" for cell in cells
        ]
        columns.append(Column((glyphs.text(title[0]), title[1]), priority, cells, styles))
    largest = [glyphs.text(_largest(layer)) for layer in shown]
    return [*columns, Column(("", "largest change"), 9, largest, ["quiet"] * len(largest), right=False)]


def factor(change: Change) -> str:
    """`×0.25`; `=` within 1%; `0 → 3` and the like where no factor can say it."""
    if change.old is None and change.new is None:
        return units.NOT_MEASURED
    if change.size <= ALIKE:
        return "="
    if change.size == float("inf"):
        return _values(change)
    return f"×{units.number(change.factor)}"


def _largest(layer: LayerChange) -> str:
    if layer.presence is not Presence.BOTH:
        return "only in the new run" if layer.presence is Presence.NEW else "only in the old run"
    title, number = max(NUMBERS.items(), key=lambda entry: entry[1](layer).size)
    return f"{title[0]} {_values(number(layer))}" if number(layer).size > ALIKE else ""


def _caption(shown: Sequence[LayerChange]) -> str:
    marked = any(layer.presence is not Presence.BOTH for layer in shown)
    return "×: new run over old run" + ("; + and -: only in the new, only in the old run" if marked else "")


def _values(change: Change) -> str:
    return _from_to(units.number(change.old), units.number(change.new))


def _from_to(old: str, new: str) -> str:
    return new if old == new else f"{old} → {new}"


def _finding(finding: Finding, whole: bool, width: int, glyphs: Glyphs) -> list[Line]:
    if whole:
        return [[], *finding_lines(finding, min(width, LONGEST_LINE), glyphs)]
    lead = (f"{finding.severity.value} ", finding.severity.value)
    return paragraph(glyphs.text(_named(finding)), width, 2, "", lead)


def _groups(found: Changes) -> list[tuple[str, tuple[Finding, ...]]]:
    groups = [(NEW, found.new_findings), ("findings that are gone", found.gone_findings)]
    return [(title, findings) for title, findings in groups if findings]


def _named(finding: Finding) -> str:
    where = finding.layer or finding.parameter
    return finding.rule + (f" in {where}" if where else "")


def _blocks(found: Changes, view: View) -> Iterator[str]:
    yield f"### {prose(_from_to(found.old.verdict, found.new.verdict))}: {code(found.new.target)}\n"
    yield f"loss {_values(found.loss)}, gradient norm {_values(found.gradient_norm)}\n"
    shown, alike, less = _shown(found, view.show_all)
    if shown and not view.quiet:
        titles = ["", "layer", *(" ".join(title) for title in NUMBERS)]
        rows = [
            [MARKS[layer.presence], code(layer.name), *(factor(number(layer)) for number in NUMBERS.values())]
            for layer in shown
        ]
        yield "\n".join(table(titles, rows)) + "\n"
    if (alike or less) and not view.quiet:
        rest = f", {units.count(less)} more changed less" if less else ""
        yield f"{units.counted(alike, 'layer')} as before{rest}.\n"
    for title, findings in _groups(found):
        yield f"**{title}**\n"
        yield (
            "\n".join(f"- {f.severity.value} {prose(_named(f))}: {prose(f.message)}" for f in findings) + "\n"
        )
    if found.same_findings:
        yield f"{units.counted(len(found.same_findings), 'finding')} in both runs."
