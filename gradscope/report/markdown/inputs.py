"""The gradient with respect to the inputs as blocks of GitHub-flavoured Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Measurement
from gradscope.report.markdown.marks import code, folded, prose, table
from gradscope.report.shared.inputs import TITLE, columns, step_sentence
from gradscope.report.shared.table import filled


def inputs(measured: Measurement) -> Iterator[str]:
    found = measured.input_gradients
    if not found:
        return
    kept = filled(columns(found))
    rows = [[code(each.name), *(column.cells[place] for column in kept)] for place, each in enumerate(found)]
    yield from folded(TITLE, table(["input", *(column.heading for column in kept)], rows))
    if measured.adversarial is not None:
        yield f"{prose(step_sentence(measured.adversarial))}\n"
