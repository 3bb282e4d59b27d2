"""The gradient with respect to the inputs on the page."""

from __future__ import annotations

from gradscope.records import Measurement
from gradscope.report.html.markup import NOTHING, Frame, Html, prose, table, tag
from gradscope.report.shared.inputs import TITLE, columns, step_sentence
from gradscope.report.shared.table import filled


def inputs(measured: Measurement, frame: Frame) -> Html:
    found, step = measured.input_gradients, measured.adversarial
    if not found:
        return NOTHING
    kept = filled(columns(found))
    rows = [[each.name, *(column.cells[place] for column in kept)] for place, each in enumerate(found)]
    words = [place for place, column in enumerate(kept, 1) if not column.right]
    titles = ["input", *(column.heading for column in kept)]
    return frame.section(
        "inputs",
        TITLE,
        table(titles, rows, caption="inputs", words=words),
        tag("p", prose(step_sentence(step))) if step is not None else NOTHING,
    )
