"""What `verify` found: a table of leaves, then elements, custom rules and the two modes in a line each."""

from __future__ import annotations

from collections.abc import Sequence

from gradscope.language import heading
from gradscope.records import ElementCheck, GradientCheck, RuleCheck, Transposition, Verdict, Verification
from gradscope.report.shared import units
from gradscope.report.shared.base import Line, View
from gradscope.report.shared.glyphs import Glyphs
from gradscope.report.shared.gradients import COLUMNS, STYLES
from gradscope.report.terminal.lines import fold, pad, paragraph, width_of

INDENT = 2
GAP = "  "
MOST_RIGHT = 30
"""Leaves shown without `--all`, where all are right; beyond it those that are right are counted."""
NARROWEST_NAME = 16
LAST_RESORT_NAME = 6


def gradients(verified: Verification | None, view: View) -> list[Line]:
    if verified is None:
        return []
    checks = verified.leaves
    lines: list[Line] = []
    if checks:
        few = view.show_all or len(checks) <= MOST_RIGHT
        shown = [c for c in checks if few or c.verdict is not Verdict.RIGHT]
        lines += [[], *_table(shown, view)] if shown else []
        if len(shown) < len(checks):
            rest = units.count(len(checks) - len(shown))
            lines += [
                [],
                *paragraph(
                    f"{view.glyphs.ellipsis} {rest} more are right: --all shows them", view, 0, "quiet"
                ),
            ]
    lines += _elements(verified.elements, view)
    lines += _rules(verified.custom_rules, view)
    return lines + _modes(verified.transposition, view)


def _table(checks: Sequence[GradientCheck], view: View) -> list[Line]:
    cells = [
        [cell(check) if check.directions else units.NOT_MEASURED for _, cell in COLUMNS] for check in checks
    ]
    glyphs = view.glyphs
    heads = [glyphs.text(heading(title)) for title, _ in COLUMNS]
    sizes = [max(width_of(title), *(width_of(row[i]) for row in cells)) for i, title in enumerate(heads)]
    verdicts = max(width_of(heading(check.verdict.value)) for check in checks)
    names = max(width_of(heading("parameter")), *(width_of(glyphs.text(check.parameter)) for check in checks))
    used = INDENT + len(GAP) + verdicts
    # A narrow terminal folds names, then gives up the numbers from the right; the verdict stays.
    while sizes and view.width - used - _across(sizes) < min(names, NARROWEST_NAME):
        sizes.pop()
    name = min(names, max(LAST_RESORT_NAME, view.width - used - _across(sizes)))
    titles = "".join(GAP + pad(title, size, right=True) for title, size in zip(heads, sizes, strict=False))
    lines: list[Line] = [
        [(" " * INDENT + pad(heading("parameter"), name) + GAP + pad("", verdicts) + titles, "quiet")]
    ]
    for check, row in zip(checks, cells, strict=True):
        lines += _row(check, row, (name, verdicts, sizes), glyphs)
        if check.reason and (check.verdict is not Verdict.RIGHT or view.show_all):
            lines += paragraph(check.reason, view, INDENT * 2, "quiet")
    return lines


def _across(sizes: Sequence[int]) -> int:
    return sum(len(GAP) + size for size in sizes)


def _row(
    check: GradientCheck, cells: Sequence[str], widths: tuple[int, int, list[int]], glyphs: Glyphs
) -> list[Line]:
    name, verdicts, sizes = widths
    style = STYLES[check.verdict]
    mark = glyphs.marks[style]
    pieces = fold(glyphs.text(check.parameter), name)
    line: Line = [
        (pad(mark, INDENT), style),
        (pad(pieces[0], name) + GAP, ""),
        (pad(heading(check.verdict.value), verdicts), style),
    ]
    line += [(GAP + pad(cell, size, right=True), "") for cell, size in zip(cells, sizes, strict=False)]
    return [line, *([(" " * INDENT + piece, "")] for piece in pieces[1:])]


def _elements(found: Sequence[ElementCheck], view: View) -> list[Line]:
    if not found:
        return []
    odd = [element for element in found if element.verdict is not Verdict.RIGHT]
    text = f"single elements: {units.count(len(found) - len(odd))} of {units.count(len(found))} right"
    lines: list[Line] = [[], *paragraph(text, view, 0, "strong")]
    for element in odd:
        index = f"[{', '.join(map(str, element.index))}]" if element.index else ""
        text = (
            f"{element.parameter}{index}  {heading(element.verdict.value)}: backprop "
            f"{units.number(element.analytic)}, differences {units.number(element.numeric)}"
        )
        lines += paragraph(text, view, INDENT, "" if element.verdict is Verdict.WRONG else "quiet")
    return lines


def _rules(found: Sequence[RuleCheck], view: View) -> list[Line]:
    if not found:
        return []
    lines: list[Line] = [[], *paragraph("custom rules", view, 0, "strong")]
    for check in found:
        style = STYLES[check.verdict]
        place = f" at {check.source}" if check.source else ""
        of = f", argument {check.argument}" if check.argument else ""
        text = f"{check.function} ({check.kind}){place}{of}: {heading(check.verdict.value)}"
        if check.reason and (check.verdict is not Verdict.RIGHT or view.show_all):
            text += f": {check.reason}"
        lead = (pad(view.glyphs.marks[style], INDENT), style)
        lines += paragraph(text, view, 0, "", lead)
    return lines


def _modes(mode: Transposition | None, view: View) -> list[Line]:
    if mode is None:
        return []
    if mode.verdict is Verdict.CANNOT_JUDGE:
        text = f"forward against reverse mode: cannot judge: {mode.reason}"
    else:
        text = (
            f"forward against reverse mode: {mode.verdict.value} "
            f"({units.number(mode.forward)} and {units.number(mode.reverse)})"
        )
    return [[], *paragraph(text, view, 0, "quiet")]
