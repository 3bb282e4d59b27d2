"""What the report rests on: remarks, what was not judged, what was not seen, versions and time."""

from __future__ import annotations

from collections.abc import Sequence

from gradscope.records import Report
from gradscope.report.html.markup import NOTHING, Frame, Html, listed, prose, tag
from gradscope.report.shared import units
from gradscope.report.shared.wording import durations, gaps


def notes(report: Report, frame: Frame) -> Html:
    entries = (part for title, texts in gaps(report) for part in _entries(title.capitalize(), texts, frame))
    return frame.section("notes", "What this does not say", *entries)


def _entries(title: str, texts: Sequence[str], frame: Frame) -> list[Html]:
    return [frame.heading(2, title), tag("ul", *(tag("li", prose(text)) for text in texts))]


def environment(report: Report, frame: Frame) -> Html:
    tool, spent = report.tool, report.timing
    facts = [
        listed("gradscope", tool.gradscope),
        listed("jax", tool.jax),
        listed("backend", tool.backend),
        listed("seed" if len(report.seeds) == 1 else "seeds", ", ".join(map(str, report.seeds))),
    ]
    times = [listed(name, duration) for name, duration in durations(report)]
    times += [listed("in all", units.seconds(spent.total_s))] if spent.total_s else []
    return frame.section(
        "environment",
        "Environment and time" if times else "Environment",
        tag("dl", *facts, class_="facts small"),
        tag("dl", *times, class_="facts small") if times else NOTHING,
    )
