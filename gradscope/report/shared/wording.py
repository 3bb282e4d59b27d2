"""The verdict, the gaps and the durations of a run, in the same words in every format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from gradscope.records import Finding, Report, Severity
from gradscope.report.shared import units
from gradscope.report.shared.baseline import in_baseline
from gradscope.report.shared.gradients import tally

NO_ERRORS = "no errors"
"""In the place of `healthy` where warnings stand, which a word of health would contradict."""
UNSEEN = "not seen: run as it is, without looking inside"
MOST_FINDINGS = 20
"""Shown without `--all`; the gravest come first."""


@dataclass(frozen=True, slots=True)
class Headline:
    """The verdict, and what it rests on."""

    verdict: str
    """`sick`, `healthy` or `no errors`: the words for people. Machines read that of the report."""
    style: str
    """`error`, `warning` or `healthy`: that of the mark before it."""
    text: str
    """`nothing found in 5 layers; gradients not verified, training not tried`."""


def headline(report: Report) -> Headline:
    """A verdict of `healthy` says what it does not speak of."""
    text = f"{by_severity(report.findings) or 'nothing found'}{_where(report)}{in_baseline(report.findings)}"
    if report.verdict == "healthy":
        text = "; ".join(part for part in (text, ", ".join(report.unexamined)) if part)
    return Headline(verdict_of(report), style_of(report), text)


def verdict_of(report: Report) -> str:
    return NO_ERRORS if style_of(report) == "warning" else report.verdict


def style_of(report: Report) -> str:
    if report.verdict != "healthy":
        return "error"
    return "warning" if any(f.severity is Severity.WARNING for f in report.findings) else "healthy"


def _where(report: Report) -> str:
    if report.flow is not None:
        return f" in {units.counted(len(report.flow.layers), 'layer')}"
    if report.memory is not None:
        return f" in a step of {units.size(report.memory.step)}"
    if report.cost is not None:
        return f" in a step of {units.operations(report.cost.step)}"
    if report.curvature is not None:
        return f" in the curvature over {units.counted(report.curvature.parameters, 'parameter')}"
    return f" in {tally(report.gradients.leaves)}" if report.gradients is not None else ""


def by_severity(found: Sequence[Finding]) -> str:
    """`2 errors, 1 note`; empty where there is nothing."""
    counts = Counter(finding.severity for finding in found)
    return ", ".join(
        units.counted(counts[severity], severity.value) for severity in Severity if counts[severity]
    )


def ranked(found: Sequence[Finding]) -> list[Finding]:
    """The gravest first."""
    return sorted(found, key=lambda finding: finding.severity.rank)


def gaps(report: Report) -> list[tuple[str, list[str]]]:
    """Titles and entries: remarks, what was left out and why, and what ran unseen."""
    groups = [
        ("notes", list(report.notes)),
        ("not judged", [f"{entry.what}: {entry.reason}" for entry in report.skipped]),
        (UNSEEN, [f"{entry.what}: {entry.reason}" for entry in report.unseen]),
    ]
    return [(title, entries) for title, entries in groups if entries]


def durations(report: Report) -> list[tuple[str, str]]:
    """The parts of a run that took time, and how long."""
    timing = report.timing
    compiled = f"compile {timing.distinct_blocks} of {timing.blocks} blocks" if timing.blocks else "compile"
    parts = (
        ("load", timing.load_s),
        ("trace", timing.trace_s),
        (compiled, timing.compile_s),
        ("run", timing.run_s),
        ("train", timing.train_s),
    )
    return [(name, units.seconds(spent)) for name, spent in parts if spent]
