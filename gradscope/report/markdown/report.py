"""One report as blocks of GitHub-flavoured Markdown; `markdown.py` puts them on a page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gradscope.records import Against, Finding, Layer, Report
from gradscope.report.markdown.marks import MARKS, code, folded, prose, table
from gradscope.report.markdown.optimizers import comparison, rate_search
from gradscope.report.shared import units
from gradscope.report.shared.columns import COLUMNS
from gradscope.report.shared.folding import Folded, fold_layers
from gradscope.report.shared.standing import MOST_FIXED, fixed_text, remarks
from gradscope.report.terminal.layer_table import flags_by_layer
from gradscope.report.terminal.sections import MOST_FINDINGS


@dataclass(frozen=True, slots=True)
class Detail:
    """How much is shown."""

    layers: bool = True
    notes: bool = True
    findings: int | None = MOST_FINDINGS
    """Of each report; `None` for all."""
    all_layers: bool = False


def blocks(report: Report, detail: Detail, head: str = "###", fails: bool = False) -> Iterator[str]:
    """`fails`: the gate does, which the verdict alone does not say."""
    measured = report.measurement
    if measured.optimizers is not None:
        yield f"{head} Optimizers on {code(report.target)}\n"
        yield from comparison(measured.optimizers)
        yield from _gaps(report, detail)
    elif measured.rate_search is not None:
        yield f"{head} Learning rate for {code(report.target)}\n"
        yield from rate_search(measured.rate_search)
        yield from _gaps(report, detail)
    else:
        yield from _checked(report, detail, head, fails)


def _checked(report: Report, detail: Detail, head: str, fails: bool) -> Iterator[str]:
    healthy = report.verdict == "healthy"
    mark = MARKS["error" if fails else "healthy" if healthy else "warning"]
    # Said only where the verdict would lead one to expect the other.
    gate = f", and the gate {'fails' if fails else 'passes'}" if fails == healthy else ""
    count = units.counted(len(report.findings), "finding") if report.findings else "nothing found"
    yield f"{head} {mark} {report.verdict}: {code(report.target)}, {count}{gate}\n"
    shown = report.findings if detail.findings is None else report.findings[: detail.findings]
    for finding in shown:
        yield _finding(finding)
    if len(report.findings) > len(shown):
        yield f"{units.counted(len(report.findings) - len(shown), 'more finding')}.\n"
    if report.against is not None:
        yield from _against(report.against, detail)
    if report.measurement.layers and detail.layers:
        yield from folded("Layers", _layers(report, detail.all_layers))
    yield from _gaps(report, detail)
    tool = report.tool
    yield f"loss {units.cell(report.measurement.loss)}, jax {prose(tool.jax)} on {prose(tool.backend)}"


def _gaps(report: Report, detail: Detail) -> Iterator[str]:
    gaps = [*report.skipped, *report.measurement.unseen]
    if gaps and detail.notes:
        lines = [f"- {code(gap.what)}: {prose(gap.reason)}" for gap in gaps]
        yield from folded("Notes, and what was not judged", lines)


def _finding(finding: Finding) -> str:
    where = [code(part) for part in (finding.layer or finding.parameter, finding.source) if part]
    head = f"{MARKS[finding.severity.value]} **{prose(finding.rule)}**" + (f" in {where[0]}" if where else "")
    note = remarks(finding)
    place = f", {where[1]}" if len(where) > 1 else ""
    lines = [f"- {head}{place}{f' ({note})' if note else ''}", f"  {prose(finding.message)}"]
    return "\n  \n".join([*lines, f"  **What to do:** {prose(finding.remedy)}"]) + "\n"


def _against(against: Against, detail: Detail) -> Iterator[str]:
    shown = against.fixed if detail.findings is None else against.fixed[:MOST_FIXED]
    if shown:
        more = len(against.fixed) - len(shown)
        names = [f"- {prose(fixed_text(known))}" for known in shown] + [f"- {more} more"] * bool(more)
        yield f"{MARKS['healthy']} Fixed since {code(against.baseline)} was written:\n"
        yield "\n".join(names) + "\n"
    if against.stale:
        yield f"{MARKS['warning']} {code(against.baseline)} is stale: {prose(against.stale)}\n"


def _layers(report: Report, show_all: bool) -> list[str]:
    flags = flags_by_layer(report.findings)
    rows = fold_layers(report.measurement.layers, flags, show_all)
    columns = [
        c for c in COLUMNS if not c.only_if_any or any(c.cell(r) for r in rows if isinstance(r, Layer))
    ]
    titles = ["layer", *(" ".join(column.title).strip() for column in columns), "findings"]
    lines = []
    for row in rows:
        if isinstance(row, Folded):
            lines.append([f"{len(row.layers)} more layers", *[""] * (len(columns) + 1)])
        else:
            rules = ", ".join(dict.fromkeys(finding.rule for finding in flags.get(row.name, ())))
            lines.append([code(row.name), *(column.cell(row) for column in columns), prose(rules)])
    return table(titles, lines)
