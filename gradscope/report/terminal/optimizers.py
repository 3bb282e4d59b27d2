"""The comparison of optimizers and the range test at a terminal."""

from __future__ import annotations

import math
import re

from gradscope.records import Comparison, Contestant, RateSearch
from gradscope.report.shared import units
from gradscope.report.shared.base import View
from gradscope.report.shared.glyphs import Glyphs
from gradscope.report.terminal import optimizer_details
from gradscope.report.terminal.bars import plot, sparkline_between
from gradscope.report.terminal.grid import Column, Row, grid
from gradscope.report.terminal.lines import Line, fold, paragraph, width_of
from gradscope.report.terminal.optimizer_details import INDENT, TITLE

CURVE = 16
PROSE = 110
ESCAPE = " \\"


def comparison(found: Comparison, target: str, view: View, glyphs: Glyphs) -> list[Line]:
    rows, width = found.contestants, view.width
    lines = _verdict(found, target, width, glyphs)
    if view.quiet:
        return lines + _advice(found, width, glyphs)
    lines.append([])
    names, all_columns = [_row(row, found, glyphs) for row in rows], columns(found, glyphs)
    lines += grid(TITLE, names, all_columns, width)
    lines.append([])
    for row in rows:
        text = glyphs.text(f"{row.name}: {row.suits}")
        lines += paragraph(text, min(width, PROSE), INDENT, "quiet")
    if view.show_all:
        lines += optimizer_details.further_columns(names, all_columns, width)
        lines += [[], *optimizer_details.by_rate(found, width, glyphs)]
        lines += [[], *optimizer_details.settings(found, width, glyphs)]
    return lines + _terms(found, width, glyphs) + _advice(found, width, glyphs)


def _verdict(found: Comparison, target: str, width: int, glyphs: Glyphs) -> list[Line]:
    best, count = found.best, units.counted(len(found.contestants), "optimizer")
    if best is None:
        lead = (f"{glyphs.marks['error']} none  ", "error")
        return paragraph(glyphs.text(f"{target}: none of {count} lowers the loss"), width, 0, "strong", lead)
    ties = sum(row.tied_with_best is True for row in found.contestants)
    tie = f", a tie with {units.counted(ties, 'other')}" if ties else ""
    if best.tied_with_best is None and len(found.contestants) > 1:
        tie = " by one seed"
    rate = f" at {units.number(best.learning_rate)}" if best.learning_rate is not None else ""
    loss = f"{'validation ' if found.validated else ''}loss {units.number(best.score(found.validated))}"
    text = f"{target}: {loss}{rate}, best of {count}{tie}"
    lead = (f"{glyphs.marks['healthy']} {glyphs.text(best.name)}  ", "healthy")
    return paragraph(glyphs.text(text), width, 0, "strong", lead)


def _row(row: Contestant, found: Comparison, glyphs: Glyphs) -> Row:
    if row is found.best:
        return Row(glyphs.text(row.name), glyphs.marks["healthy"], "healthy")
    return Row(glyphs.text(row.name), "=" if row.tied_with_best else "")


def columns(found: Comparison, glyphs: Glyphs) -> list[Column]:
    """One cell for each contestant; an empty column says nothing about any."""
    rows = found.contestants

    def of(top: str, bottom: str, priority: int, cells: list[str]) -> Column:
        return Column((top, bottom), priority, cells)

    return [
        of("learning", "rate", 0, [units.number(row.learning_rate) for row in rows]),
        # What decides the rank stays longest.
        of("final", "loss", int(found.validated), [units.cell(row.final_loss) for row in rows]),
        of("lowest to", "highest", 6, [_spread(row) for row in rows]),
        of("valid.", "loss", int(not found.validated), [_validation(row) for row in rows]),
        of("steps to", "target", 1, [_until(row.steps_to_target) for row in rows]),
        of("time to", "target", 2, [_seconds(row.seconds_to_target) for row in rows]),
        of("per", "step", 5, [_seconds(row.step_seconds) for row in rows]),
        of("state", "/ params", 3, [_times(row.state_to_parameters) for row in rows]),
        of("lr within", "10% of best", 4, [_decades(row) for row in rows]),
        of("lost at", "lr / 10", 7, [_lost(row.loss_at_tenth) for row in rows]),
        of("lost at", "lr x 10", 7, [_lost(row.loss_at_tenfold) for row in rows]),
        of("", "diverged", 4, [_diverged(row) for row in rows]),
        of("evals", "/ step", 3, [_evaluations(row) for row in rows]),
        Column(("", "rate kind"), 8, [row.kind for row in rows], right=False),
        Column(("", "loss"), 5, [_curve(row, found, glyphs) for row in rows], ["bar"] * len(rows), False),
    ]


def _spread(row: Contestant) -> str:
    return f"{units.number(row.final_low)} to {units.number(row.final_high)}"


def _validation(row: Contestant) -> str:
    return "" if row.validation_loss is None else units.cell(row.validation_loss)


def _diverged(row: Contestant) -> str:
    return units.share(row.diverged_share) if row.diverged_share else ""


def _until(steps: float) -> str:
    return "never" if math.isinf(steps) else f"{steps:.0f}"


def _seconds(duration: float) -> str:
    if not math.isfinite(duration):
        return "never" if math.isinf(duration) else units.NOT_MEASURED
    return f"{duration * 1e6:.0f} µs" if duration < 1e-3 else units.seconds(duration)


def _times(ratio: float) -> str:
    return f"{ratio:.2g}x" if ratio else "0"


def _decades(row: Contestant) -> str:
    if row.tolerant_decades is None:
        return units.NOT_MEASURED
    more = "+" if row.tolerant_at_least else ""
    return f"{row.tolerant_decades:.1f}{more} decades"


def _lost(share: float | None) -> str:
    if share is None:
        return ""
    if share <= 0:
        return "none"
    return "all" if share >= 1.0 else f"{share:.0%}"


def _evaluations(row: Contestant) -> str:
    return f"{row.evaluations_per_step:.1f}" if row.evaluations_per_step > 1 else ""


def _curve(row: Contestant, found: Comparison, glyphs: Glyphs) -> str:
    """The median run at the best rate, on one scale for all."""
    whole = [t for t in row.trials if t.learning_rate == row.learning_rate and not t.stopped_early]
    if not whole:
        return ""
    middle = sorted(whole, key=lambda trial: trial.final_loss)[len(whole) // 2]
    best = found.best
    low = best.final_low if best else found.initial_loss
    return sparkline_between(middle.losses, low, found.initial_loss, CURVE, glyphs)


def _terms(found: Comparison, width: int, glyphs: Glyphs) -> list[Line]:
    text = glyphs.text(f" {glyphs.dot} ".join(facts(found)))
    return [[], *paragraph(text, min(width, PROSE), 0, "quiet")]


def facts(found: Comparison) -> list[str]:
    """The terms of the comparison."""
    target = f"target loss {units.number(found.target)}"
    if not math.isfinite(found.target):
        target = "no target, as no loss was lowered"
    elif not found.target_is_users:
        target += " (90% of the best improvement)"
    return [
        units.counted(found.steps, "step"),
        units.counted(len(found.seeds), "seed"),
        f"loss at the start {units.number(found.initial_loss)}",
        target,
        f"losses are means over {units.counted(found.window, 'step')}",
        *([f"schedule {found.schedule}"] if found.schedule != "constant" else []),
        *([f"clipped at {found.clip:g}"] if found.clip is not None else []),
        f"engine {found.engine}",
        units.counted(found.compiled, "program") + " compiled",
    ]


def _advice(found: Comparison, width: int, glyphs: Glyphs) -> list[Line]:
    lines: list[Line] = [[]]
    for reason in found.reasons:
        lines += paragraph(glyphs.text(reason), min(width, PROSE), 0)
    if found.recommendation:
        lines += [[], *_pasted(found.recommendation, width, glyphs)]
    return lines


def rate_search(found: RateSearch, view: View, glyphs: Glyphs) -> list[Line]:
    """The curve of the median seed, and the readings of all."""
    width, lines = view.width, []
    if not view.quiet:
        middle = sorted(found.tests, key=lambda test: min(test.losses))[len(found.tests) // 2]
        what = "factor" if found.is_factor else "learning rate"
        marked = found.suggestion if found.code else None
        lines = [*plot(middle.rates, middle.losses, marked, what, width - INDENT, glyphs), []]
    lines += _readings(found, width, glyphs) if found.code else []
    if found.warning:
        lines += paragraph(glyphs.text(found.warning), min(width, PROSE), 0, "warning")
    if not found.code:
        return lines
    return [*lines, [], *_pasted(f"optimizer = {found.code}", width, glyphs)]


def _pasted(code: str, width: int, glyphs: Glyphs) -> list[Line]:
    """A line of code; folded where it is too long, so that pasting it still works."""
    pieces = folded_code(glyphs.text(code), width - INDENT)
    lines: list[Line] = [[(" " * INDENT, ""), (piece, "strong")] for piece in pieces]
    lines[0][0] = (f"{glyphs.arrow} ", "remedy")
    return lines


def folded_code(code: str, width: int) -> list[str]:
    """Python in pieces of `width` that mean the same one below the other: outside of brackets the end of a
    line is escaped, and no name, number or text is broken unless it is longer than a line."""
    pieces, depth = [""], 0
    for token in re.findall(r"'[^']*'|#.*|\d+(?:\.\d+)?(?:e[+-]?\d+)?|\w+|.", code):
        within, depth = depth, depth + (token in "([{") - (token in ")]}")
        for part in fold(token, width):
            # Where the line may end outside of brackets, room is left for the escape.
            room = width - (0 if within and depth else len(ESCAPE))
            if pieces[-1] and width_of((pieces[-1] + part).rstrip()) > room:
                pieces[-1] = pieces[-1].rstrip() + ("" if within else ESCAPE)
                pieces.append("")
            pieces[-1] += part if pieces[-1] else part.lstrip()
    return pieces


def suggestion(found: RateSearch) -> str:
    seeds = units.counted(len(found.tests), "seed")
    whose = "before the updates of your optimizer" if found.is_factor else f"for {found.optimizer}"
    return (
        f"{units.number(found.suggestion)} {whose}: a tenth of the {'factor' if found.is_factor else 'rate'} "
        f"with the lowest smoothed loss, median of {seeds} ({units.number(found.low)} to "
        f"{units.number(found.high)})."
    )


def _readings(found: RateSearch, width: int, glyphs: Glyphs) -> list[Line]:
    others = ", ".join(f"{name} {units.number(value)}" for name, value in found.others.items())
    less = f"Other readings of the same curves, less reliable: {others}."
    lines = paragraph(glyphs.text(suggestion(found)), min(width, PROSE), 0, "strong")
    return lines + paragraph(glyphs.text(less), min(width, PROSE), 0, "quiet")
