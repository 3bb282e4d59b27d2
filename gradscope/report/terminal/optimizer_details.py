"""What `--all` adds to the comparison: the columns that were left out, each learning rate, the settings."""

from __future__ import annotations

from collections.abc import Sequence

from gradscope.records import Comparison
from gradscope.report.shared.base import Line, View
from gradscope.report.shared.optimizers import ended, setting_text, settings as tried
from gradscope.report.shared.table import Column, filled
from gradscope.report.terminal.grid import GridRow, fitting, grid
from gradscope.report.terminal.lines import paragraph

INDENT = 2
TITLE = "optimizer"


def further_columns(rows: Sequence[GridRow], columns: Sequence[Column], width: int) -> list[Line]:
    """As many further tables as it takes to show every column."""
    lines: list[Line] = []
    left = filled(columns)
    shown = fitting(TITLE, rows, left, width)
    while shown:
        left = [column for column in left if column not in shown]
        shown = fitting(TITLE, rows, left, width)
        lines += [[], *grid(TITLE, rows, shown, width)] if shown else []
    return lines


def by_rate(found: Comparison, view: View) -> list[Line]:
    """Every setting that was tried, and the median over the seeds that tuned of where its runs ended."""
    title = "every learning rate: loss, and validation loss" if found.validated else "every learning rate"
    if any(row.weight_decay is not None for row in found.contestants):
        title = title.replace("learning rate", "learning rate and weight decay")
    lines: list[Line] = paragraph(title, view, 0, "strong")
    for row in found.contestants:
        cells = [f"{setting_text(each)}: {ended(row, each)}" for each in tried(row)]
        if cells:
            text = f"{row.name}  {f' {view.glyphs.dot} '.join(cells)}"
            lines += paragraph(text, view, INDENT, "quiet")
    return lines


def settings(found: Comparison, view: View) -> list[Line]:
    """The other hyperparameters: at the defaults of optax, the same at every learning rate."""
    lines: list[Line] = paragraph("settings", view, 0, "strong")
    for row in found.contestants:
        pairs = [f"{name} {value}" for name, value in row.settings.items()]
        if pairs:
            lines += paragraph(f"{row.name}  {', '.join(pairs)}", view, INDENT, "quiet")
    return lines if len(lines) > 1 else []
