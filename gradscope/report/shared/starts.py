"""The ends from several starts, pair by pair, as a small table."""

from __future__ import annotations

from gradscope.records import Comparison
from gradscope.report.shared import units
from gradscope.report.shared.bars import sparkline_between
from gradscope.report.shared.glyphs import Glyphs
from gradscope.report.shared.table import Column, SmallTable


def start_table(found: Comparison, glyphs: Glyphs) -> SmallTable | None:
    """`None` where nothing was compared."""
    starts = found.starts
    if starts is None or not starts.pairs:
        return None
    losses = dict(zip(starts.seeds, starts.losses, strict=True))
    pairs = starts.pairs
    columns = [
        Column(("loss at", "one end"), 1, [units.cell(losses[pair.seeds[0]]) for pair in pairs]),
        Column(("at the", "other"), 1, [units.cell(losses[pair.seeds[1]]) for pair in pairs]),
        Column(("rise on", "the line"), 0, [units.cell(pair.barrier) for pair in pairs]),
        Column(("distance", "/ norm"), 2, [units.cell(pair.distance) for pair in pairs]),
        Column(
            ("", "the line"),
            3,
            [sparkline_between(p.line, min(p.line), max(p.line), len(p.line), glyphs) for p in pairs],
            ["bar"] * len(pairs),
            False,
        ),
    ]
    names = [f"{pair.seeds[0]} and {pair.seeds[1]}" for pair in pairs]
    title = f"Ends of {starts.optimizer}"
    return SmallTable(title, "seeds", names, columns, [-pair.barrier for pair in pairs], "", heading=title)
