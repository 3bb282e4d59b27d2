"""What the report rests on: remarks, what was not judged, what was not seen, versions and time."""

from __future__ import annotations

from collections.abc import Sequence

from gradscope.records import Report
from gradscope.report.html.markup import NOTHING, Frame, Html, listed, prose, tag
from gradscope.report.shared import units
from gradscope.report.terminal.sections import NOTE, UNSEEN, durations


def notes(report: Report, frame: Frame) -> Html:
    remarks = [entry.reason for entry in report.skipped if entry.what == NOTE]
    skipped = [f"{entry.what}: {entry.reason}" for entry in report.skipped if entry.what != NOTE]
    unseen = [f"{entry.what}: {entry.reason}" for entry in report.measurement.unseen]
    return frame.section(
        "notes",
        "What this does not say",
        *_entries("Notes", remarks, frame),
        *_entries("Not judged", skipped, frame),
        *_entries(UNSEEN.capitalize(), unseen, frame),
    )


def _entries(title: str, texts: Sequence[str], frame: Frame) -> list[Html]:
    if not texts:
        return []
    return [frame.heading(2, title), tag("ul", *(tag("li", prose(text)) for text in texts))]


def environment(report: Report, frame: Frame) -> Html:
    tool, spent = report.tool, report.timing
    facts = [
        listed("gradscope", tool.gradscope),
        listed("jax", tool.jax),
        listed("backend", tool.backend),
        listed("seed" if len(report.seeds) == 1 else "seeds", ", ".join(map(str, report.seeds))),
    ]
    total = spent.load_s + spent.trace_s + spent.compile_s + spent.run_s
    parts = (part.partition(" ") for part in durations(report))
    times = [listed(name, duration) for name, _, duration in parts]
    times += [listed("in all", units.seconds(total))] if total else []
    return frame.section(
        "environment",
        "Environment and time" if times else "Environment",
        tag("dl", *facts, class_="facts small"),
        tag("dl", *times, class_="facts small") if times else NOTHING,
    )
