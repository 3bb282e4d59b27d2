"""Optimizers beside each other: for each its loss over the steps and over the learning rates.

All panels have the same scales, and behind each optimizer stand all the others in grey: seven colours in one
chart would have to be told apart, one against six greys is seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from gradscope.language import heading
from gradscope.records import Comparison, Contestant, Trial
from gradscope.report.html.markup import NOTHING, Frame, Html, code, details, joined, prose, table, tag
from gradscope.report.html.plots import Curve, Labels, Plot, Point, drawn, thinned
from gradscope.report.html.scales import Linear, Logarithmic, logarithmic
from gradscope.report.html.small_tables import small_table
from gradscope.report.shared import optimizers as words, units
from gradscope.report.shared.glyphs import UNICODE
from gradscope.report.shared.layer_updates import update_tables
from gradscope.report.shared.starts import start_table
from gradscope.report.shared.table import filled
from gradscope.report.shared.widths import width_table

MOST_POINTS = 80
FAR = 30.0
"""A loss that falls by more than this factor is shown on a log scale."""
BEYOND = 1.25
"""Losses above the initial one by more than this share of its distance to the best are shown at the top."""


@dataclass(frozen=True, slots=True)
class Axes:
    """What all panels share."""

    loss: Linear | Logarithmic
    rate: Logarithmic | None
    steps: int
    start: float

    @property
    def heights(self) -> Labels:
        if isinstance(self.loss, Logarithmic):
            return self.loss.ticks(4)
        ends = [value for value in (self.loss.low, self.start) if math.isfinite(value)]
        return [(self.loss.place(value) or 0, units.number(value)) for value in dict.fromkeys(ends)]


def comparison(found: Comparison, frame: Frame) -> Html:
    """Ranked cards, the table, and the terms."""
    sheet = _sheet(found)
    cards = (_card(row, found, sheet, frame) for row in found.contestants)
    return joined(
        [
            advice(found.recommendation, found.reasons, frame),
            frame.section(
                "optimizers",
                "Loss over steps, and over learning rates",
                tag("div", *cards, class_="cards"),
                tag("p", _scales(found, sheet), class_="quiet"),
                _rates_twin(found),
                _curves_twin(found),
            ),
            frame.section("ranking", "In numbers", _ranking(found)),
            _ends(found, frame),
            _widths(found, frame),
            _updates(found, frame),
            tag("p", joined(words.facts(found), " · "), class_="quiet"),
        ]
    )


def advice(line: str, reasons: Sequence[str], frame: Frame) -> Html:
    """The line to paste, and what else is to be known."""
    told = tag("ul", *(tag("li", prose(reason)) for reason in reasons)) if reasons else NOTHING
    pasted = tag("pre", code(line)) if line else NOTHING
    return frame.section("advice", "What to use", pasted, told)


def _sheet(found: Comparison) -> Axes:
    ends = [row.final_loss for row in found.contestants if math.isfinite(row.final_loss)]
    start = found.initial_loss
    low = min([start, *ends]) if math.isfinite(start) else min(ends, default=0.0)
    top = low + BEYOND * (start - low) if math.isfinite(start) else max(ends, default=1.0)
    # What learns well falls by powers of ten: on a linear scale all of it would lie on the ground.
    powers = logarithmic([low, start], least=1) if 0 < low < start / FAR else None
    rates = [t.learning_rate for row in found.contestants for t in row.trials]
    return Axes(powers or Linear(low, top), logarithmic(rates, least=1), max(1, found.steps - 1), start)


def _card(row: Contestant, found: Comparison, sheet: Axes, frame: Frame) -> Html:
    others = [each for each in found.contestants if each is not row]
    mark = "best" if row is found.best else "undecided" if row.tied_with_best else ""
    if not math.isfinite(row.final_loss):
        mark = "diverged"
    state = units.number(row.score(found.validated))
    head = frame.heading(
        2, code(row.name), " ", tag("small", mark, class_=mark.split(" ")[-1]) if mark else NOTHING
    )
    rate = "" if row.learning_rate is None else f" at a learning rate of {units.number(row.learning_rate)}"
    if row.weight_decay is not None:
        rate += f" and a weight decay of {units.number(row.weight_decay)}"
    return tag(
        "article",
        head,
        tag("p", f"loss {state}{rate}. {row.summary}"),
        tag("div", _over_steps(row, others, sheet), _over_rates(row, others, sheet), class_="pair"),
        class_="card",
    )


def middle(row: Contestant) -> Trial | None:
    """The median run at the best rate."""
    whole = row.judged
    return sorted(whole, key=lambda trial: trial.final_loss)[len(whole) // 2] if whole else None


def finals(row: Contestant) -> list[tuple[float, float]]:
    """Each learning rate, and the median over the seeds that tuned of where it ended: with the best of the
    decays that were tried with it."""
    by_rate: dict[float, float] = {}
    for rate, decay in words.settings(row):
        mine = (t.final_loss for t in row.tuned if (t.learning_rate, t.weight_decay) == (rate, decay))
        by_rate[rate] = min(median(mine), by_rate.get(rate, math.inf))
    return list(by_rate.items())


def _steps_line(row: Contestant, sheet: Axes) -> list[Point]:
    trial = middle(row)
    losses = trial.losses if trial else ()
    places = thinned(len(losses), MOST_POINTS)
    return [(100 * step / sheet.steps, sheet.loss.place(losses[step])) for step in places]


def _rates_line(row: Contestant, sheet: Axes) -> list[Point]:
    scale = sheet.rate
    return [(scale.place(rate), sheet.loss.place(loss)) for rate, loss in finals(row)] if scale else []


def _over_steps(row: Contestant, others: Sequence[Contestant], sheet: Axes) -> Html:
    trial = middle(row)
    if trial is None:
        return NOTHING
    last = units.number(trial.losses[-1]) if trial.losses else units.NOT_MEASURED
    dead = "" if trial.diverged_at is None else f", diverged at step {trial.diverged_at}"
    return drawn(
        Plot(
            [*(Curve(_steps_line(each, sheet), "other") for each in others), Curve(_steps_line(row, sheet))],
            f"loss of {row.name} over {units.counted(len(trial.losses), 'step')}, {last} at the last{dead}; "
            "the other optimizers in grey",
            x=[(0, "0"), (100, str(sheet.steps))],
            y=sheet.heights,
            under=heading("step"),
            hover=_step_hover(trial, sheet),
            broken=[] if trial.diverged_at is None else [100 * trial.diverged_at / sheet.steps],
        )
    )


def _step_hover(trial: Trial, sheet: Axes) -> list[tuple[float, float, str]]:
    places = thinned(len(trial.losses), 24)
    width = 100 / max(1, len(places))
    return [
        (
            max(0.0, 100 * step / sheet.steps - width / 2),
            min(100.0, 100 * step / sheet.steps + width / 2),
            f"step {step}: loss {units.number(trial.losses[step])}",
        )
        for step in places
    ]


def _over_rates(row: Contestant, others: Sequence[Contestant], sheet: Axes) -> Html:
    ends, scale = finals(row), sheet.rate
    if not ends or scale is None:
        return tag("p", "It has no learning rate to choose.", class_="quiet plot")
    said = "; ".join(f"{units.number(rate)}: {_ended(loss)}" for rate, loss in ends)
    places = [(scale.place(rate) or 0.0, rate, loss) for rate, loss in ends]
    best = scale.place(row.learning_rate)
    return drawn(
        Plot(
            [
                *(Curve(_rates_line(each, sheet), "other") for each in others),
                Curve(_rates_line(row, sheet), dots=True),
            ],
            f"final loss of {row.name} over the learning rate: {said}",
            x=scale.ticks(4),
            y=sheet.heights,
            under="learning rate",
            hover=[(x - 3, x + 3, f"{units.number(rate)}: {_ended(loss)}") for x, rate, loss in places],
            marks=[] if best is None else [best],
            broken=[x for x, _, loss in places if not math.isfinite(loss)],
        )
    )


def _ended(loss: float) -> str:
    return units.number(loss) if math.isfinite(loss) else "diverged"


def _scales(found: Comparison, sheet: Axes) -> str:
    text = "All panels share their scales; what climbs higher is cut at the top, a cross diverged."
    if isinstance(sheet.loss, Logarithmic):
        text += " The loss is on a log scale."
    return f"{text} The curves are those of the median seed." if len(found.seeds) > 1 else text


def _rates_twin(found: Comparison) -> Html:
    rows = [
        [code(row.name), units.number(rate), _ended(loss)]
        for row in found.contestants
        for rate, loss in finals(row)
    ]
    caption = "final loss over the learning rate"
    titles = ["optimizer", "learning rate", "final loss"]
    return (
        details("Final loss over the learning rate as a table", table(titles, rows, caption=caption))
        if rows
        else NOTHING
    )


def _curves_twin(found: Comparison) -> Html:
    steps = thinned(found.steps, 9)
    rows = [
        [code(row.name), *(units.cell(trial.losses[s]) if s < len(trial.losses) else "" for s in steps)]
        for row in found.contestants
        if (trial := middle(row)) is not None
    ]
    titles = ["optimizer", *(f"step {step}" for step in steps)]
    caption = "loss over the steps"
    return (
        details("Loss over the steps as a table", table(titles, rows, caption=caption)) if rows else NOTHING
    )


def _ends(found: Comparison, frame: Frame) -> Html:
    ends = start_table(found, UNICODE)
    return NOTHING if ends is None else frame.section("ends", ends.title, small_table(ends))


def _widths(found: Comparison, frame: Frame) -> Html:
    widths = width_table(found)
    if widths is None:
        return NOTHING
    return frame.section("widths", widths.title, small_table(widths), tag("p", widths.said))


def _updates(found: Comparison, frame: Frame) -> Html:
    tables = list(update_tables(found))
    if not tables:
        return NOTHING
    shown = (details(each.title, small_table(each)) for each in tables)
    return frame.section("updates", "What each does to each layer", tag("p", tables[-1].said), *shown)


def _ranking(found: Comparison) -> Html:
    columns = [column for column in words.columns(found, UNICODE) if column.title != ("", "loss")]
    columns = filled(columns)
    titles = ["optimizer", *(column.heading for column in columns)]
    rows = [
        [code(row.name), *(column.cells[place] for column in columns)]
        for place, row in enumerate(found.contestants)
    ]
    return table(titles, rows, caption="optimizers in the order of their rank")
