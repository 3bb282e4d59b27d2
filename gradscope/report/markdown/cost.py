"""The cost of a training step as blocks of GitHub-flavoured Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Cost
from gradscope.report.markdown.marks import prose
from gradscope.report.markdown.small_tables import long_table
from gradscope.report.shared.communication import between_devices, communication_tables
from gradscope.report.shared.cost import summary
from gradscope.report.shared.cost_growth import growth_sentences
from gradscope.report.shared.cost_tables import growth_table, tables


def cost(found: Cost, show_all: bool) -> Iterator[str]:
    for sentence in [*summary(found), *between_devices(found), *growth_sentences(found)]:
        yield f"{prose(sentence)}\n"
    for each in [*tables(found), *communication_tables(found), *map(growth_table, found.growth)]:
        yield from long_table(each, show_all)
