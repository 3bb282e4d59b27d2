"""The curvature of the loss as blocks of GitHub-flavoured Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Curvature
from gradscope.report.markdown.marks import prose
from gradscope.report.markdown.small_tables import long_table
from gradscope.report.shared.curvature import summary
from gradscope.report.shared.curvature_tables import density_table, tables


def curvature(found: Curvature, show_all: bool) -> Iterator[str]:
    for sentence in summary(found):
        yield f"{prose(sentence)}\n"
    for each in [*tables(found), density_table(found)]:
        if each is not None:
            yield from long_table(each, show_all)
