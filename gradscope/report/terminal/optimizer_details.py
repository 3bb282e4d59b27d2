"""What `--all` adds to the comparison: the columns that were left out, each learning rate, the settings."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from gradscope.records import Comparison, Contestant, Trial
from gradscope.report.shared import units
from gradscope.report.shared.glyphs import Glyphs
from gradscope.report.terminal.grid import Column, Row, fitting, grid
from gradscope.report.terminal.lines import Line, paragraph

INDENT = 2
TITLE = "optimizer"


def further_columns(rows: Sequence[Row], columns: Sequence[Column], width: int) -> list[Line]:
    """As many further tables as it takes to show every column."""
    lines: list[Line] = []
    left = [column for column in columns if any(column.cells)]
    shown = fitting(TITLE, rows, left, width)
    while shown:
        left = [column for column in left if column not in shown]
        shown = fitting(TITLE, rows, left, width)
        lines += [[], *grid(TITLE, rows, shown, width)] if shown else []
    return lines


def by_rate(found: Comparison, width: int, glyphs: Glyphs) -> list[Line]:
    """Every learning rate that was tried, and the median over the seeds of where its runs ended."""
    title = "every learning rate: loss, and validation loss" if found.validated else "every learning rate"
    lines: list[Line] = paragraph(title, width, 0, "strong")
    for row in found.contestants:
        rates = sorted({t.learning_rate for t in row.trials if t.learning_rate is not None})
        cells = [f"{units.number(rate)}: {ended(row, rate)}" for rate in rates]
        if cells:
            text = f"{glyphs.text(row.name)}  {f' {glyphs.dot} '.join(cells)}"
            lines += paragraph(text, width, INDENT, "quiet")
    return lines


def ended(row: Contestant, rate: float) -> str:
    mine = [trial for trial in row.trials if trial.learning_rate == rate]
    final = median([trial.final_loss for trial in mine])
    if not math.isfinite(final):
        return "diverged"
    validated = [trial.validation_loss for trial in mine if trial.validation_loss is not None]
    text = units.number(final)
    if validated:
        text += f", {units.number(median(validated))}"
    stopped = [trial for trial in mine if trial.stopped_early]
    return f"{text} at step {_last(stopped)}" if stopped else text


def _last(trials: Sequence[Trial]) -> int:
    return max(len(trial.losses) for trial in trials)


def median(values: Sequence[float]) -> float:
    """As the table has it: infinite where half of them are."""
    middle = sorted(values)[len(values) // 2]
    return middle if math.isinf(middle) else statistics.median(values)


def settings(found: Comparison, width: int, glyphs: Glyphs) -> list[Line]:
    """The other hyperparameters: at the defaults of optax, the same at every learning rate."""
    lines: list[Line] = paragraph("settings", width, 0, "strong")
    for row in found.contestants:
        pairs = [f"{name} {value}" for name, value in row.settings.items()]
        if pairs:
            lines += paragraph(glyphs.text(f"{row.name}  {', '.join(pairs)}"), width, INDENT, "quiet")
    return lines if len(lines) > 1 else []
