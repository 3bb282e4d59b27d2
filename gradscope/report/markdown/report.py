"""One report as blocks of GitHub-flavoured Markdown; `reporter.py` puts them on a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gradscope.language import between, heading, translate
from gradscope.records import BaselineResult, Finding, Layer, Report
from gradscope.report.markdown.cost import cost
from gradscope.report.markdown.curvature import curvature
from gradscope.report.markdown.history import training_over_time
from gradscope.report.markdown.marks import MARKS, code, folded, prose, table, to_do
from gradscope.report.markdown.memory import memory
from gradscope.report.markdown.optimizers import comparison, rate_search
from gradscope.report.markdown.remedies import remedies
from gradscope.report.markdown.small_tables import small_table, tables
from gradscope.report.markdown.through_time import through_time
from gradscope.report.shared import units
from gradscope.report.shared.baseline import MOST_FIXED, fixed_text, remarks
from gradscope.report.shared.columns import telling
from gradscope.report.shared.folding import Folded, flags_by_layer, fold_layers
from gradscope.report.shared.parameter_groups import group_table
from gradscope.report.shared.tasks import task_table
from gradscope.report.shared.training import sentence
from gradscope.report.shared.wording import MOST_FINDINGS, headline


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
    if report.optimizers is not None:
        yield f"{head} {translate(f'Optimizers on {code(report.target)}')}\n"
        yield from comparison(report.optimizers)
        yield from _findings(report, detail)
    elif report.rates is not None:
        yield f"{head} {translate(f'Learning rate for {code(report.target)}')}\n"
        yield from rate_search(report.rates)
        yield from _findings(report, detail)
    else:
        yield from _checked(report, detail, head, fails)


def _checked(report: Report, detail: Detail, head: str, fails: bool) -> Iterator[str]:
    found = headline(report)
    # Said only where the verdict would lead one to expect the other.
    gate = (
        f", and the gate {'fails' if fails else 'passes'}" if fails == (report.verdict == "healthy") else ""
    )
    mark = MARKS["error" if fails else "warning" if found.style == "error" else found.style]
    text = translate(found.text + gate)
    yield f"{head} {mark} {heading(found.verdict)}: {code(report.target)}, {text}\n"
    yield from _findings(report, detail)
    if report.remedies is not None:
        yield from remedies(report.remedies, detail.all_layers)
    if report.memory is not None:
        yield from memory(report.memory, detail.all_layers)
    if report.curvature is not None:
        yield from curvature(report.curvature, detail.all_layers)
    if report.cost is not None:
        yield from cost(report.cost, detail.all_layers)
    if report.training is not None:
        yield f"{prose(sentence(report.training, report.findings))}\n"
    if (groups := group_table(report.training)) is not None:
        yield from small_table(groups)
    if (tasks := task_table(report.training)) is not None:
        yield from small_table(tasks)
    if report.history is not None:
        yield from training_over_time(report.history)
    tool = report.tool
    unknown = report.loss is None and any((report.history, report.memory, report.cost))
    jax, backend = prose(tool.jax), prose(tool.backend)
    yield translate(
        f"jax {jax} on {backend}" if unknown else f"loss {units.cell(report.loss)}, jax {jax} on {backend}"
    )


def _findings(report: Report, detail: Detail) -> Iterator[str]:
    shown = report.findings if detail.findings is None else report.findings[: detail.findings]
    for finding in shown:
        yield _finding(finding)
    if len(report.findings) > len(shown):
        yield translate(f"{units.counted(len(report.findings) - len(shown), 'more finding')}.") + "\n"
    if report.baseline is not None:
        yield from _baseline(report.baseline, detail)
    if report.flow is not None and report.flow.layers and detail.layers:
        yield from folded("Layers", _layers(report.flow.layers, report.findings, detail.all_layers))
        yield from tables(report.flow)
        yield from through_time(report.flow)
    yield from _gaps(report, detail)


def _gaps(report: Report, detail: Detail) -> Iterator[str]:
    lines = [f"- {prose(note)}" for note in report.notes]
    lines += [f"- {code(gap.what)}: {prose(gap.reason)}" for gap in (*report.skipped, *report.unseen)]
    if lines and detail.notes:
        yield from folded("Notes, and what was not judged", lines)


def _finding(finding: Finding) -> str:
    where = [code(part) for part in (finding.layer or finding.parameter, finding.source) if part]
    head = f"{MARKS[finding.severity.value]} **{prose(finding.rule)}**" + (
        f"{between()}{where[0]}" if where else ""
    )
    note = translate(remarks(finding))
    place = f", {where[1]}" if len(where) > 1 else ""
    lines = [f"- {head}{place}{f' ({note})' if note else ''}", f"  {prose(finding.message)}"]
    return "\n  \n".join([*lines, f"  {to_do(finding.remedy)}"]) + "\n"


def _baseline(found: BaselineResult, detail: Detail) -> Iterator[str]:
    shown = found.fixed if detail.findings is None else found.fixed[:MOST_FIXED]
    if shown:
        more = len(found.fixed) - len(shown)
        names = [f"- {prose(fixed_text(known))}" for known in shown] + [
            f"- {translate(f'{more} more')}"
        ] * bool(more)
        yield f"{MARKS['healthy']} {translate(f'Fixed since {code(found.file)} was written:')}\n"
        yield "\n".join(names) + "\n"
    if found.stale:
        yield f"{MARKS['warning']} {translate(f'{code(found.file)} is stale: {prose(found.stale)}')}\n"


def _layers(layers: Sequence[Layer], findings: Sequence[Finding], show_all: bool) -> list[str]:
    flags = flags_by_layer(findings)
    rows = fold_layers(layers, flags, show_all)
    columns = telling([row for row in rows if isinstance(row, Layer)])
    titles = ["layer", *(column.heading for column in columns), "findings"]
    lines = []
    for row in rows:
        if isinstance(row, Folded):
            lines.append([translate(f"{len(row.layers)} more layers"), *[""] * (len(columns) + 1)])
        else:
            rules = ", ".join(dict.fromkeys(finding.rule for finding in flags.get(row.name, ())))
            lines.append([code(row.name), *(column.cell(row) for column in columns), prose(rules)])
    return table(titles, lines)
