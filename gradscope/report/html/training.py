"""The loss over the steps of the short training."""

from __future__ import annotations

import math

from gradscope.language import heading
from gradscope.records import Report, ShortTraining
from gradscope.report.html.markup import NOTHING, Frame, Html, details, joined, prose, table, tag
from gradscope.report.html.plots import Curve, Plot, drawn
from gradscope.report.html.scales import Linear
from gradscope.report.html.small_tables import small_table
from gradscope.report.shared import units
from gradscope.report.shared.layers_after import after_table
from gradscope.report.shared.parameter_groups import group_table
from gradscope.report.shared.tasks import task_table
from gradscope.report.shared.training import sentence


def short_training(report: Report, frame: Frame) -> Html:
    training = report.training
    if training is None:
        return NOTHING
    said = tag("p", prose(sentence(training, report.findings)))
    groups = group_table(training)
    table = NOTHING if groups is None else small_table(groups)
    tasks = task_table(training)
    agreement = NOTHING
    if tasks is not None:
        agreement = joined([small_table(tasks), tag("p", prose(tasks.said))])
    after = after_table(report)
    later = NOTHING if after is None else details(after.meaning, small_table(after))
    return frame.section("training", "A short training", said, *_figure(training), table, agreement, later)


def _figure(training: ShortTraining) -> list[Html]:
    finite = [loss for loss in training.losses if math.isfinite(loss)]
    if len(training.losses) < 2 or not finite:
        return []
    scale, last = Linear(min(finite), max(finite)), len(training.losses) - 1
    places = [(100 * step / last, loss) for step, loss in enumerate(training.losses)]
    width = 50 / last
    plot = Plot(
        [Curve([(x, scale.place(loss) if math.isfinite(loss) else None) for x, loss in places])],
        f"loss over {units.counted(training.steps, 'step')}",
        x=[(0, "1"), (100, str(training.steps))],
        y=[(scale.place(value) or 0, units.number(value)) for value in (scale.low, scale.high)],
        under=heading("step"),
        hover=[
            (max(0.0, x - width), min(100.0, x + width), f"step {number}: loss {units.number(loss)}")
            for number, (x, loss) in enumerate(places, 1)
        ],
        broken=[x for x, loss in places if not math.isfinite(loss)],
    )
    rows = [[str(number), units.cell(loss)] for number, loss in enumerate(training.losses, 1)]
    twin = table(["step", "loss"], rows, caption="loss before each step")
    return [tag("div", drawn(plot), class_="panels"), details("As a table", twin)]
