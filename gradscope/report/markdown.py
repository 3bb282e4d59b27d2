"""The report as GitHub-flavoured Markdown, for a comment on a pull request or a step summary.

Everything from a model or a file stands in code spans or with its marks escaped: a layer may be named
`<script>`, `@someone` or `|`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TextIO

from gradscope.records import Comparison, Finding, Layer, RateSearch, Report, Suite
from gradscope.report import optimizers, units
from gradscope.report.base import View
from gradscope.report.columns import COLUMNS
from gradscope.report.folding import Folded, fold_layers
from gradscope.report.glyphs import UNICODE, visible
from gradscope.report.grid import Column
from gradscope.report.layer_table import flags_by_layer
from gradscope.report.sections import MOST_FINDINGS

MARKS = {"error": "❌", "warning": "⚠️", "note": "ℹ️"}


class MarkdownReporter:
    def render(self, suite: Suite, out: TextIO, view: View) -> None:
        for report in suite.reports:
            for block in _blocks(report, view):
                out.write(block + "\n")


REPORTER = MarkdownReporter()


def _blocks(report: Report, view: View) -> Iterator[str]:
    measured = report.measurement
    if measured.optimizers is not None:
        yield f"### Optimizers on {code(report.target)}\n"
        yield from _comparison(measured.optimizers)
    elif measured.rate_search is not None:
        yield f"### Learning rate for {code(report.target)}\n"
        yield from _rate(measured.rate_search)
    else:
        yield from _checked(report, view)


def _checked(report: Report, view: View) -> Iterator[str]:
    mark = "✅" if report.verdict == "healthy" else "❌"
    count = units.counted(len(report.findings), "finding") if report.findings else "nothing found"
    yield f"### {mark} {report.verdict}: {code(report.target)}, {count}\n"
    shown = report.findings if view.show_all else report.findings[:MOST_FINDINGS]
    for finding in shown:
        yield _finding(finding)
    if len(report.findings) > len(shown):
        yield f"{units.counted(len(report.findings) - len(shown), 'more finding')}.\n"
    if report.measurement.layers and not view.quiet:
        yield from _folded("Layers", _layers(report, view))
    gaps = [*report.skipped, *report.measurement.unseen]
    if gaps and not view.quiet:
        lines = [f"- {code(gap.what)}: {prose(gap.reason)}" for gap in gaps]
        yield from _folded("Notes, and what was not judged", lines)
    tool = report.tool
    yield f"loss {units.cell(report.measurement.loss)}, jax {prose(tool.jax)} on {prose(tool.backend)}"


def _finding(finding: Finding) -> str:
    where = [code(part) for part in (finding.layer or finding.parameter, finding.source) if part]
    head = f"{MARKS[finding.severity.value]} **{prose(finding.rule)}**" + (f" in {where[0]}" if where else "")
    lines = [f"- {head}" + (f", {where[1]}" if len(where) > 1 else ""), f"  {prose(finding.message)}"]
    return "\n  \n".join([*lines, f"  **What to do:** {prose(finding.remedy)}"]) + "\n"


def _layers(report: Report, view: View) -> list[str]:
    flags = flags_by_layer(report.findings)
    rows = fold_layers(report.measurement.layers, flags, view.show_all)
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


def _comparison(found: Comparison) -> Iterator[str]:
    columns = [c for c in optimizers.columns(found, UNICODE) if any(c.cells)]
    titles = ["", "optimizer", *(_title(column) for column in columns)]
    lines = [
        [
            "**1**" if row is found.best else "=" if row.tied_with_best else "",
            code(row.name),
            *(column.cells[place] for column in columns),
        ]
        for place, row in enumerate(found.contestants)
    ]
    yield "\n".join(table(titles, lines)) + "\n"
    yield "\n".join(f"- {code(row.name)}: {prose(row.suits)}" for row in found.contestants) + "\n"
    yield "".join(f"{prose(fact)}. " for fact in optimizers.facts(found)).strip() + "\n"
    yield "\n".join(f"- {prose(reason)}" for reason in found.reasons) + "\n"
    if found.recommendation:
        yield f"```python\n{visible(found.recommendation)}\n```"


def _title(column: Column) -> str:
    return " ".join(column.title).strip()


def _rate(found: RateSearch) -> Iterator[str]:
    yield f"{prose(optimizers.suggestion(found))}\n"
    rows = [[name, units.number(value)] for name, value in found.others.items()]
    yield "\n".join(table(["other readings, less reliable", "rate"], rows)) + "\n"
    if found.warning:
        yield f"{MARKS['warning']} {prose(found.warning)}\n"
    yield f"```python\noptimizer = {visible(found.code)}\n```"


def _folded(title: str, lines: Sequence[str]) -> Iterator[str]:
    yield f"<details><summary>{title}</summary>\n"
    yield "\n".join(lines)
    yield "\n</details>\n"


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [titles, ["---"] * len(titles), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def code(value: object) -> str:
    """A code span, with more backticks around it than stand together in it."""
    text = visible(str(value))
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence}{text}{fence}" if not longest else f"{fence} {text} {fence}"


def prose(text: str) -> str:
    """Words of ours with names of the user's in them: nothing in it is read as a mark or as a mention."""
    return " ".join(
        code(word) if "@" in word else re.sub(r"([\\`*_{}\[\]<>#|~])", r"\\\1", word)
        for word in visible(text).split()
    )
