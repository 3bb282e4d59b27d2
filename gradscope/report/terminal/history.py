"""A training over time at a terminal: loss, gradient norm and layers, step below step in the same columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gradscope.language import heading, translate
from gradscope.records import Finding, History
from gradscope.report.shared import units
from gradscope.report.shared.bars import BROKEN, ZERO, LinearScale, cells
from gradscope.report.shared.base import Line, View
from gradscope.report.shared.folding import FOLDED_ABOVE
from gradscope.report.shared.heat_map import (
    USUAL_UPDATE,
    HeatMap,
    HeatRow,
    delta_known,
    delta_map,
    even_rows,
    update_map,
)
from gradscope.report.shared.history import Mark, marks, progress, sentence
from gradscope.report.shared.time_columns import (
    TimeCurve,
    column_of,
    gradient_norms,
    losses,
    steps_in,
    time_columns,
    validation,
)
from gradscope.report.terminal.lines import LONGEST_LINE, fold, pad, paragraph, width_of
from gradscope.report.terminal.short_names import short_names

INDENT = 2
GAP = 2
NUMBER = 8
"""Cells of the first and of the last number."""
NAMES = ("gradient norm", "validation")
MOST_COLUMNS = 80
FEWEST_COLUMNS = 24
"""Below, the numbers beside the columns are given up."""
MOST_MARKS = 4
BOTH_MAPS = 100
"""From this width on update / weight is shown without `--verbose`."""


@dataclass(frozen=True, slots=True)
class TimeSheet:
    """What the rows of one picture have in common."""

    history: History
    view: View
    columns: list[range]
    name: int
    numbers: bool

    @property
    def left(self) -> int:
        """Cells before the first column."""
        return INDENT + self.name + GAP + (NUMBER + GAP if self.numbers else 0)


def training_over_time(history: History | None, findings: Sequence[Finding], view: View) -> list[Line]:
    """Of more layers than the table of layers shows, neighbours share a row."""
    if history is None:
        return []
    prose = view.at_most(LONGEST_LINE)
    lines: list[Line] = [[], *paragraph("training", view, 0, "strong")]
    lines += paragraph(sentence(history), prose, INDENT)
    if not history.spans:
        return lines
    layers = len(history.layers)
    most = layers if view.show_all else even_rows(layers, FOLDED_ABOVE)
    sheet = _sheet(history, view, most)
    maps = [delta_map(history, sheet.columns, most)]
    if view.verbose or view.width >= BOTH_MAPS:
        maps.append(update_map(history, sheet.columns, most))
    shown = [each for each in maps if each is not None]
    lines += [[], *_curves(sheet)]
    for each in shown:
        lines += _map_lines(each, sheet)
    lines += [_axis(sheet), *_mark_lines(marks(findings, history), sheet), []]
    for caption in _captions(shown, sheet):
        lines += paragraph(caption, prose, INDENT, "quiet")
    return lines


def live_lines(history: History, view: View, height: int) -> list[Line]:
    """Of a training that goes on, in at most `height` lines: a sentence, the curves, and as many rows of both
    heat maps as fit."""
    lines = paragraph(progress(history), view, 0)
    if not history.spans:
        return lines[:height]
    sheet = _sheet(history, view, max(1, height // 2))
    lines += _curves(sheet)
    for maps in (2, 1):
        rows = min((height - len(lines) - 1) // maps - 1, len(history.layers))
        if rows < min(maps + 1, len(history.layers)):
            continue
        found = [delta_map(history, sheet.columns, rows), update_map(history, sheet.columns, rows)]
        for each in [each for each in found if each is not None][:maps]:
            lines += _map_lines(each, sheet)
        break
    return [*lines, _axis(sheet)][:height]


def _sheet(history: History, view: View, rows: int) -> TimeSheet:
    """With room for about so many rows of layers."""
    layers = len(history.layers)
    others = len(f" +{layers // rows}") if layers > rows else 0
    names = max((width_of(view.glyphs.text(layer.name)) for layer in history.layers), default=0)
    least = max(width_of(heading(name)) for name in NAMES)
    name = min(max(least, names + others), max(least, view.width * 3 // 10))
    room = view.width - INDENT - name - GAP
    beside = 2 * (NUMBER + GAP)
    numbers = room - beside >= FEWEST_COLUMNS
    most = min(MOST_COLUMNS, room - (beside if numbers else 0))
    return TimeSheet(history, view, time_columns(history, most), name, numbers)


def _curves(sheet: TimeSheet) -> list[Line]:
    lines: list[Line] = []
    if sheet.numbers:
        head = pad(heading("first"), sheet.left - GAP, right=True)
        head += " " * (GAP + len(sheet.columns) + GAP) + pad(heading("last"), NUMBER, right=True)
        lines.append([(head, "quiet")])
    loss = losses(sheet.history, sheet.columns)
    if loss is not None:
        lines.append(_curve(loss, sheet))
        lines += _validation(loss, sheet)
    return [*lines, _curve(gradient_norms(sheet.history, sheet.columns), sheet)]


def _curve(curve: TimeCurve, sheet: TimeSheet) -> Line:
    drawn = cells(curve.values, curve.scale, sheet.view.glyphs)
    return _row(heading(curve.name), curve.first, drawn, curve.last, sheet)


def _validation(loss: TimeCurve, sheet: TimeSheet) -> list[Line]:
    """On the scale of the loss."""
    found = validation(sheet.history, sheet.columns)
    if not sheet.history.validation:
        return []
    first, last = sheet.history.validation[0].loss, sheet.history.validation[-1].loss
    drawn = cells(found, loss.scale, sheet.view.glyphs)
    return [_row(heading("validation"), first, drawn, last, sheet)]


def _map_lines(found: HeatMap, sheet: TimeSheet) -> list[Line]:
    lines: list[Line] = list(paragraph(_heading(found, sheet), sheet.view, INDENT, "quiet"))
    for row, names in zip(found.rows, _names(found.rows, sheet), strict=True):
        drawn = cells(row.cells, found.scale, sheet.view.glyphs)
        lines.append(_row(names[0], row.first, drawn, row.last, sheet))
        lines += [[(" " * INDENT + piece, "")] for piece in names[1:]]
    return lines


def _heading(found: HeatMap, sheet: TimeSheet) -> str:
    glyphs = sheet.view.glyphs
    if found.scale is None:
        return found.title
    low, high = (units.number(end) for end in found.scale.ends)
    less, more = (" or less", " or more") if found.absolute else ("", "")
    return f"{found.title}: {glyphs.ramp[0]} {low}{less} to {glyphs.ramp[-1]} {high}{more}, log scale"


def _names(rows: Sequence[HeatRow], sheet: TimeSheet) -> list[list[str]]:
    """On one line each, with the number of further layers; whole with `--all`."""
    glyphs = sheet.view.glyphs
    names = [glyphs.text(row.name) for row in rows]
    if sheet.view.show_all:
        return [fold(name, sheet.name) for name in names]
    short = short_names(names, sheet.name - max(len(row.others) for row in rows), glyphs.ellipsis)
    return [[name + row.others] for name, row in zip(short, rows, strict=True)]


def _row(name: str, first: float | None, drawn: Line, last: float | None, sheet: TimeSheet) -> Line:
    line: Line = [(" " * INDENT + pad(name, sheet.name) + " " * GAP, "")]
    if sheet.numbers:
        line.append((pad(_number(first), NUMBER, right=True) + " " * GAP, "quiet"))
    line += drawn
    if sheet.numbers:
        line.append((" " * GAP + pad(_number(last), NUMBER, right=True), "quiet"))
    return line


def _number(value: float | None) -> str:
    """Of NaN and infinity the records do not say which it was."""
    return units.cell(value) if value is None or math.isfinite(value) else BROKEN


def _axis(sheet: TimeSheet) -> Line:
    """The first and the last step below the columns; the last alone where both have no room."""
    first, last = units.count(sheet.history.begun), units.count(max(sheet.history.steps - 1, 0))
    wide = len(sheet.columns)
    if wide < len(first) + 1 + len(last):
        first = ""
    text = first + last.rjust(wide - len(first))
    label = pad(" " * INDENT + heading("step"), sheet.left)
    return [(label + text[: max(0, sheet.view.width - sheet.left)], "quiet")]


def _mark_lines(found: Sequence[Mark], sheet: TimeSheet) -> list[Line]:
    lines: list[Line] = []
    for step, text, severity in found[:MOST_MARKS]:
        place = sheet.left + column_of(sheet.history, sheet.columns, step)
        text = sheet.view.glyphs.text(translate(text))
        if place + 2 + width_of(text) <= sheet.view.width:
            lines.append([(" " * place + "^", severity), (f" {text}", "")])
        elif width_of(text) + 1 <= place:
            lines.append([(" " * (place - 1 - width_of(text)) + f"{text} ", ""), ("^", severity)])
        else:
            lines += [[(" " * place + "^", severity)], *paragraph(text, sheet.view, INDENT)]
    if len(found) > MOST_MARKS:
        rest = units.counted(len(found) - MOST_MARKS, "more finding")
        lines += paragraph(
            f"{sheet.view.glyphs.ellipsis} {rest} that name a step", sheet.view, INDENT, "quiet"
        )
    return lines


def _captions(shown: Sequence[HeatMap], sheet: TimeSheet) -> list[str]:
    """What the pictures show, as far as they do not say so themselves."""
    said = []
    loss, norm = losses(sheet.history, sheet.columns), gradient_norms(sheet.history, sheet.columns)
    for curve in (loss, norm):
        if curve is not None and curve.scale is not None:
            low, high = (units.number(end) for end in curve.scale.ends)
            kind = "linear" if isinstance(curve.scale, LinearScale) else "log"
            said.append(f"{curve.name} on a {kind} scale from {low} to {high}")
    longest = max(last - first + 1 for first, last in (steps_in(sheet.history, c) for c in sheet.columns))
    if longest > 1:
        steps = units.counted(longest, "step")
        said.append(f"a column is up to {steps}: of the loss their mean, of all else the highest")
    if any(each.absolute for each in shown):
        said.append(f"update / weight is usually about {units.number(USUAL_UPDATE)}")
    captions = [f"{'; '.join(said)}."] if said else []
    if shown and not delta_known(sheet.history):
        captions.append("δ was not recorded: the gradient of each layer's weight stands in its place.")
    odd = [
        (0.0, f"{ZERO} is exactly zero"),
        (math.inf, f"{BROKEN} is not finite"),
        (None, "a blank was not measured"),
    ]
    if told := [text for value, text in odd if any(each.has(value) for each in shown)]:
        captions.append(f"{'; '.join(told)}.")
    if (grouped := max((each.grouped for each in shown), default=1)) > 1:
        captions.append(
            f"A row is the highest of up to {units.counted(grouped, 'layer')}: --all shows every one."
        )
    return captions
