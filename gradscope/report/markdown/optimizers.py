"""The comparison of optimizers and the range test as blocks of GitHub-flavoured Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradscope.records import Comparison, Contestant, RateSearch
from gradscope.report.markdown.marks import MARKS, code, folded, prose, table
from gradscope.report.markdown.small_tables import small_table
from gradscope.report.shared import optimizers, units
from gradscope.report.shared.bars import plot
from gradscope.report.shared.glyphs import UNICODE, visible
from gradscope.report.shared.layer_updates import update_tables
from gradscope.report.shared.optimizers import ended, median, setting_text
from gradscope.report.shared.starts import start_table
from gradscope.report.shared.table import filled
from gradscope.report.shared.widths import width_table

POINTS = 10
"""Of each loss curve."""
PLOT_WIDTH = 72


def comparison(found: Comparison) -> Iterator[str]:
    columns = filled(optimizers.columns(found, UNICODE))
    titles = ["", "optimizer", *(column.heading for column in columns)]
    lines = [
        [
            "**1**" if row is found.best else "=" if row.tied_with_best else "",
            code(row.name),
            *(column.cells[place] for column in columns),
        ]
        for place, row in enumerate(found.contestants)
    ]
    yield "\n".join(table(titles, lines)) + "\n"
    yield "\n".join(f"- {code(row.name)}: {prose(row.summary)}" for row in found.contestants) + "\n"
    yield from _curves(found)
    yield from _rates(found)
    ends = start_table(found, UNICODE)
    if ends is not None:
        yield from small_table(ends)
    widths = width_table(found)
    if widths is not None:
        yield from small_table(widths)
    for each in update_tables(found):
        yield from small_table(each)
    yield "".join(f"{prose(fact)}. " for fact in optimizers.facts(found)).strip() + "\n"
    yield "\n".join(f"- {prose(reason)}" for reason in found.reasons) + "\n"
    if found.recommendation:
        yield f"```python\n{visible(found.recommendation)}\n```"


def rate_search(found: RateSearch) -> Iterator[str]:
    if found.code:
        yield f"{prose(optimizers.suggestion(found))}\n"
    yield from _plot(found)
    rows = [[name, units.number(value)] for name, value in found.others.items()]
    yield "\n".join(table(["other readings, less reliable", "rate"], rows)) + "\n"
    if found.warning:
        yield f"{MARKS['warning']} {prose(found.warning)}\n"
    if found.code:
        yield f"```python\n{visible(optimizers.pasted(found))}\n```"


def _curves(found: Comparison) -> Iterator[str]:
    """The median over the seeds at the best rate, at steps that lie evenly."""
    steps = sorted({round(place * (found.steps - 1) / (POINTS - 1)) for place in range(POINTS)})
    rows = [[code(row.name), *(_loss_at(row, step) for step in steps)] for row in found.contestants]
    titles = ["optimizer", *(f"step {step}" for step in steps)]
    yield from folded("Loss over the steps", table(titles, rows))


def _loss_at(row: Contestant, step: int) -> str:
    losses = [trial.losses[step] if step < len(trial.losses) else math.inf for trial in row.judged]
    if not losses:
        return ""
    middle = median([loss if math.isfinite(loss) else math.inf for loss in losses])
    return units.cell(middle) if math.isfinite(middle) else "diverged"


def _rates(found: Comparison) -> Iterator[str]:
    """Every learning rate that was tried, and the settings beside it."""
    rows = []
    for row in found.contestants:
        tried = "; ".join(f"{setting_text(each)}: {ended(row, each)}" for each in optimizers.settings(row))
        settings = ", ".join(f"{name} {value}" for name, value in row.settings.items())
        rows.append([code(row.name), tried, prose(settings)])
    what = "final loss, and validation loss" if found.validated else "final loss"
    titles = ["optimizer", f"{what} by learning rate", "settings"]
    yield from folded("Every learning rate, and the settings", table(titles, rows))


def _plot(found: RateSearch) -> Iterator[str]:
    middle = sorted(found.tests, key=lambda test: min(test.losses))[len(found.tests) // 2]
    what = "factor" if found.is_factor else "learning rate"
    marked = found.suggestion if found.code else None
    lines = plot(middle.rates, middle.losses, marked, what, PLOT_WIDTH, UNICODE)
    yield "```text\n" + "\n".join("".join(text for text, _ in line).rstrip() for line in lines) + "\n```\n"
