"""What changed between two runs, in GitHub-flavoured Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from gradscope.language import heading, translate
from gradscope.records.diff import Changes, SuiteChanges
from gradscope.report.markdown.marks import code, prose, table
from gradscope.report.shared import units
from gradscope.report.shared.base import View
from gradscope.report.shared.diff import (
    MARKS,
    NUMBERS,
    factor,
    from_to,
    groups,
    named,
    presence,
    shown_layers,
    values,
)


def render(found: SuiteChanges, out: TextIO, view: View) -> None:
    for each in found.targets:
        for block in _blocks(each, view):
            out.write(block + "\n")
    for text in presence(found):
        out.write(f"\n{prose(text)}\n")


def _blocks(found: Changes, view: View) -> Iterator[str]:
    verdicts = from_to(heading(found.old.verdict), heading(found.new.verdict))
    yield f"### {prose(verdicts)}: {code(found.new.target)}\n"
    numbers = f"loss {values(found.loss)}, gradient norm {values(found.gradient_norm)}"
    yield f"{translate(numbers)}\n"
    shown, alike, less = shown_layers(found, view.show_all)
    if shown and not view.quiet:
        titles = ["", "layer", *(" ".join(title) for title in NUMBERS)]
        rows = [
            [MARKS[layer.presence], code(layer.name), *(factor(number(layer)) for number in NUMBERS.values())]
            for layer in shown
        ]
        yield "\n".join(table(titles, rows)) + "\n"
    if (alike or less) and not view.quiet:
        rest = f", {units.count(less)} more changed less" if less else ""
        yield translate(f"{units.counted(alike, 'layer')} as before{rest}.") + "\n"
    for title, findings in groups(found):
        yield f"**{heading(title)}**\n"
        lines = (f"- {heading(f.severity.value)} {prose(named(f))}: {prose(f.message)}" for f in findings)
        yield "\n".join(lines) + "\n"
    if found.same_findings:
        yield translate(f"{units.counted(len(found.same_findings), 'finding')} in both runs.")
