"""Remedies as blocks of GitHub-flavoured Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Remedies
from gradscope.report.markdown.marks import prose, table
from gradscope.report.shared.glyphs import visible
from gradscope.report.shared.remedies import HORIZON, columns, failures, lines_of_edit, rows, summary
from gradscope.report.shared.table import filled


def remedies(found: Remedies, show_all: bool) -> Iterator[str]:
    for sentence in summary(found):
        yield f"{prose(sentence)}\n"
    shown = rows(found, show_all)
    if shown:
        kept = filled(columns(shown))
        lines = [
            [prose(each.what), *(prose(c.cells[place]) for c in kept)] for place, each in enumerate(shown)
        ]
        yield "\n".join(table(["remedy", *(column.heading for column in kept)], lines)) + "\n"
        for sentence in failures(shown):
            yield f"{prose(sentence)}\n"
    if found.best is not None:
        text = "\n".join(map(visible, lines_of_edit(found.best.diff)))
        fence = "`" * max(3, longest_run(text) + 1)
        yield f"{fence}diff\n{text}\n{fence}\n"
        yield f"{prose(HORIZON)}\n"


def longest_run(text: str) -> int:
    """Of backticks, which must not close the block."""
    longest = run = 0
    for character in text:
        run = run + 1 if character == "`" else 0
        longest = max(longest, run)
    return longest
