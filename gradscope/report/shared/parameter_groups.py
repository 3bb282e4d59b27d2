"""What the optimizer does with which parameters, as a table; nothing where it treats all of them alike."""

from __future__ import annotations

from gradscope.records import ParameterGroup, ShortTraining
from gradscope.report.shared import units
from gradscope.report.shared.table import Column, SmallTable

MOST = 8
"""Beyond so many groups each parameter has a rate of its own, and they are no groups."""
SHOWN = 3
"""Names of a group."""


def group_table(training: ShortTraining | None) -> SmallTable | None:
    """`None` where there are no groups to show."""
    groups = () if training is None else training.groups
    if not 1 < len(groups) <= MOST:
        return None
    columns = [
        Column(("", "size"), 2, [units.count(group.size) for group in groups]),
        Column(("first", "step"), 1, [_step(group) for group in groups]),
        Column(("decay", "/ weight"), 1, [_decay(group) for group in groups]),
    ]
    names = [_name(group) for group in groups]
    return SmallTable("Optimizer", "parameters", names, columns, [0.0] * MOST, "", heading="optimizer")


def _name(group: ParameterGroup) -> str:
    """`head.w, head.b and 4 more`."""
    shown = group.leaves if len(group.leaves) == SHOWN + 1 else group.leaves[:SHOWN]
    rest = len(group.leaves) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


def _step(group: ParameterGroup) -> str:
    if group.transform == "frozen":
        return "frozen"
    if group.rate is None:
        return "own kind"
    rate = units.number(group.rate)
    return f"{rate} x gradient" if group.transform == "proportional" else rate


def _decay(group: ParameterGroup) -> str:
    if group.decay is None:
        return "yes" if group.decayed else units.NOT_MEASURED
    return units.number(group.decay) if group.decayed else "none"
