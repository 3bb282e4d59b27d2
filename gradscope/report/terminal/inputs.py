"""The gradient with respect to the inputs at a terminal."""

from __future__ import annotations

from gradscope.records import Measurement
from gradscope.report.shared.base import Line, View
from gradscope.report.shared.inputs import TITLE, columns, step_sentence
from gradscope.report.terminal.grid import GridRow, grid
from gradscope.report.terminal.lines import paragraph
from gradscope.report.terminal.sections import LONGEST_LINE


def inputs(measured: Measurement, view: View) -> list[Line]:
    found = measured.input_gradients
    if not found:
        return []
    rows = [GridRow(view.glyphs.text(each.name)) for each in found]
    lines: list[Line] = [[], *paragraph(TITLE, view, 0, "strong")]
    lines += grid("input", rows, columns(found), view.width)
    if measured.adversarial is not None:
        lines += paragraph(step_sentence(measured.adversarial), view.at_most(LONGEST_LINE))
    return lines
