"""The curve of a learning-rate range test, with the suggestion marked on it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradscope.records import RangeTest, RateSearch
from gradscope.report.html.markup import NOTHING, Frame, Html, details, joined, prose, table, tag
from gradscope.report.html.optimizers import MOST_POINTS, advice
from gradscope.report.html.plots import Curve, Plot, Point, drawn, thinned
from gradscope.report.html.scales import Linear, Logarithmic, logarithmic
from gradscope.report.shared import units
from gradscope.report.shared.optimizers import pasted


def rate_search(found: RateSearch, frame: Frame) -> Html:
    what = "factor" if found.is_factor else "learning rate"
    others = [[name, units.number(value)] for name, value in found.others.items()]
    warning = (
        tag("p", tag("b", "warning", class_="warning"), " ", prose(found.warning))
        if found.warning
        else NOTHING
    )
    return joined(
        [
            advice(pasted(found), (), frame) if found.code else NOTHING,
            frame.section(
                "curve",
                f"Smoothed loss over the {what}",
                *_range_figure(found, what),
                warning,
            ),
            frame.section(
                "readings",
                "Other readings of the same curves, less reliable",
                table(["reading", what], others, caption="other readings"),
            )
            if others
            else NOTHING,
        ]
    )


def _range_figure(found: RateSearch, what: str) -> Iterator[Html]:
    tests = [test for test in found.tests if test.losses]
    rates = logarithmic((rate for test in tests for rate in test.rates), least=1)
    if not tests or rates is None:
        return
    chosen = sorted(tests, key=lambda test: min(test.losses))[len(tests) // 2]
    values = [loss for test in tests for loss in test.losses if math.isfinite(loss)]
    loss = Linear(min(values, default=0.0), max(values, default=1.0))
    lines = [Curve(_range_line(test, rates, loss), "other") for test in tests if test is not chosen]
    plot = Plot(
        [*lines, Curve(_range_line(chosen, rates, loss))],
        f"smoothed loss over the {what}, suggested: {units.number(found.suggestion)}",
        x=rates.ticks(8),
        y=[(loss.place(value) or 0, units.number(value)) for value in (loss.low, loss.high)],
        under=f"{what}; the upright line is the suggestion, {units.number(found.suggestion)}",
        hover=_range_hover(chosen, rates),
        marks=[place for place in [rates.place(found.suggestion)] if place is not None],
    )
    yield tag("figure", drawn(plot), class_="wide")
    places = thinned(len(chosen.losses), 40)
    rows = [[units.cell(chosen.rates[i]), units.cell(chosen.losses[i])] for i in places]
    yield details("The same numbers as a table", table([what, "smoothed loss"], rows, caption="range test"))


def _range_line(test: RangeTest, rates: Logarithmic, loss: Linear) -> list[Point]:
    places = thinned(len(test.losses), MOST_POINTS)
    return [(rates.place(test.rates[i]), loss.place(test.losses[i])) for i in places]


def _range_hover(test: RangeTest, rates: Logarithmic) -> list[tuple[float, float, str]]:
    found = []
    for i in thinned(len(test.losses), 40):
        x = rates.place(test.rates[i]) or 0.0
        found.append(
            (x - 1.2, x + 1.2, f"{units.number(test.rates[i])}: loss {units.number(test.losses[i])}")
        )
    return found
