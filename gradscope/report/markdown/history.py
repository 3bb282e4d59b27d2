"""A training step by step in Markdown: in a sentence, and its curves in letters."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradscope.records import History
from gradscope.report.markdown.marks import prose
from gradscope.report.shared import units
from gradscope.report.shared.bars import BROKEN, cells
from gradscope.report.shared.glyphs import UNICODE
from gradscope.report.shared.history import sentence
from gradscope.report.shared.time_columns import TimeCurve, gradient_norms, losses, time_columns

WIDTH = 60


def training_over_time(history: History) -> Iterator[str]:
    yield f"{prose(sentence(history))}\n"
    if not history.spans:
        return
    columns = time_columns(history, WIDTH)
    curves = [losses(history, columns), gradient_norms(history, columns)]
    lines = [_line(curve) for curve in curves if curve is not None]
    yield "```text\n" + "\n".join(lines) + "\n```\n"


def _line(curve: TimeCurve) -> str:
    drawn = "".join(text for text, _ in cells(curve.values, curve.scale, UNICODE))
    return f"{curve.name:<13}  {_number(curve.first):>8}  {drawn}  {_number(curve.last)}"


def _number(value: float | None) -> str:
    return units.cell(value) if value is None or math.isfinite(value) else BROKEN
