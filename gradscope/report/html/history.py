"""A training step by step: its loss and the norm of its gradient as curves, its layers as heat maps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

from gradscope.language import heading
from gradscope.records import Finding, History
from gradscope.report.html.heat_maps import heat_maps
from gradscope.report.html.markup import NOTHING, Frame, Html, details, prose, table, tag
from gradscope.report.html.plots import Curve, Plot, Strip, drawn
from gradscope.report.html.scales import Linear, Logarithmic, logarithmic, step_ticks
from gradscope.report.shared import units
from gradscope.report.shared.history import Mark, marks, sentence, steps_text
from gradscope.report.shared.time_columns import (
    TimeCurve,
    gradient_norms,
    losses,
    spread,
    steps_in,
    time_columns,
)

MOST_POINTS = 120
MOST_MARKS = 8
TABLE_ROWS = 40


def training_over_time(history: History, findings: Sequence[Finding], frame: Frame) -> Html:
    title, said = "The training, step by step", tag("p", prose(sentence(history)))
    if not history.spans:
        return frame.section("history", title, said)
    found = marks(findings, history)[:MOST_MARKS]
    panels = tag("div", *_figures(history, found), class_="panels")
    maps = heat_maps(history, [step for step, _, _ in found])
    return frame.section("history", title, said, panels, _told(history, found), maps, _twin(history))


def _figures(history: History, found: Sequence[Mark]) -> Iterator[Html]:
    columns = _columns(history)
    steps = [steps_in(history, column) for column in columns]
    loss = losses(history, columns)
    if loss is not None:
        yield _figure(loss, steps, [(each.step, each.loss) for each in history.validation], found)
    yield _figure(gradient_norms(history, columns), steps, (), found)


def _columns(history: History) -> list[range]:
    return time_columns(history, MOST_POINTS)


def _figure(
    curve: TimeCurve,
    steps: Sequence[tuple[int, int]],
    looks: Sequence[tuple[int, float]],
    found: Sequence[Mark],
) -> Html:
    start = steps[0][0]
    last = max(steps[-1][1] - start, 1)
    scale = _scale([*curve.values, *curve.low, *curve.high, *(loss for _, loss in looks)], curve.name)
    across = [50 * (first + end - 2 * start) / last for first, end in steps]
    curves = [Curve([(x, _height(scale, value)) for x, value in zip(across, curve.values, strict=True)])]
    if looks:
        inside = [(max(0, step - start), loss) for step, loss in looks]
        dots = [(min(100.0, 100 * step / last), _height(scale, loss)) for step, loss in inside]
        curves.append(Curve(dots, "activation", dots=True))
    plot = Plot(
        curves,
        f"{curve.name} over {units.counted(steps[-1][1] + 1 - start, 'step')}: "
        f"{_number(curve.first)} first, {_number(curve.last)} last",
        x=step_ticks(start, steps[-1][1]),
        y=_ticks(scale),
        under=heading("step"),
        strips=_strips(curve, across, scale),
        hover=[
            (
                100 * (first - start) / (last + 1),
                100 * (end + 1 - start) / (last + 1),
                _hover(curve, place, first, end),
            )
            for place, (first, end) in enumerate(steps)
        ],
        marks=[100 * (step - start) / last for step, _, _ in found],
        broken=[
            x
            for x, value in zip(across, curve.values, strict=True)
            if value is not None and not math.isfinite(value)
        ],
    )
    ends = f" {_number(curve.first)} first, {_number(curve.last)} last"
    return tag("figure", tag("figcaption", tag("b", curve.name), tag("small", ends)), drawn(plot))


def _scale(values: Sequence[float | None], name: str) -> Linear | Logarithmic | None:
    """A gradient is judged by powers of ten, and so is a loss that spans more than two of them."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    if name != "loss" or spread(finite):
        return logarithmic(finite, least=1)
    return Linear(min(finite), max(finite)) if finite else None


def _height(scale: Linear | Logarithmic | None, value: float | None) -> float | None:
    return scale.place(value) if scale is not None else None


def _ticks(scale: Linear | Logarithmic | None) -> list[tuple[float, str]]:
    if scale is None:
        return []
    if isinstance(scale, Logarithmic):
        return scale.ticks(4)
    return [
        (scale.place(value) or 0, units.number(value)) for value in dict.fromkeys((scale.low, scale.high))
    ]


def _strips(curve: TimeCurve, across: Sequence[float], scale: Linear | Logarithmic | None) -> list[Strip]:
    """From the lowest to the highest of each column, as far as both have a place."""
    if curve.low == curve.high:
        return []
    edges = [
        (x, _height(scale, low), _height(scale, high))
        for x, low, high in zip(across, curve.low, curve.high, strict=True)
    ]
    runs = groupby(edges, key=lambda edge: edge[1] is not None and edge[2] is not None)
    return [
        [(x, low, high) for x, low, high in run if low is not None and high is not None]
        for whole, run in runs
        if whole
    ]


def _hover(curve: TimeCurve, place: int, first: int, end: int) -> str:
    value, low, high = curve.values[place], curve.low[place], curve.high[place]
    text = f"{steps_text(first, end)}: {curve.name} {_number(value)}"
    return text if low == high else f"{text}, from {_number(low)} to {_number(high)}"


def _number(value: float | None) -> str:
    """Of NaN and infinity the records do not say which it was."""
    return units.cell(value) if value is None or math.isfinite(value) else "not finite"


def _told(history: History, found: Sequence[Mark]) -> Html:
    """What the lines are, as far as they do not say so themselves."""
    said = []
    steps = [last - first + 1 for first, last in (steps_in(history, c) for c in _columns(history))]
    if max(steps) > 1:
        each = f"A point stands for up to {units.counted(max(steps), 'step')}"
        said.append(
            f"{each}: the mean loss, the highest gradient norm, and a strip from the lowest to the highest."
        )
    if history.validation and history.losses.low:
        said.append("The dots are the validation loss.")
    if found:
        lines = "The upright line is" if len(found) == 1 else "The upright lines are"
        said.append(f"{lines} {'; '.join(text for _, text, _ in found)}.")
    return tag("p", " ".join(said), class_="quiet") if said else NOTHING


def _twin(history: History) -> Html:
    columns = time_columns(history, TABLE_ROWS)
    loss, norm = losses(history, columns), gradient_norms(history, columns)
    curves = [("loss", loss.values), ("lowest", loss.low), ("highest", loss.high)] if loss is not None else []
    curves.append(("gradient norm, highest", norm.values))
    rows = [
        [steps_text(*steps_in(history, column)).partition(" ")[2], *(_number(of[place]) for _, of in curves)]
        for place, column in enumerate(columns)
    ]
    inner = [table(["steps", *(title for title, _ in curves)], rows, caption="loss and gradient norm")]
    if history.validation:
        looks = [[units.count(each.step), _number(each.loss)] for each in history.validation]
        inner.append(table(["steps taken", "validation loss"], looks, caption="validation loss"))
    return details("Loss and gradient norm as a table", *inner)
