"""What changed between two runs, as every format for people words it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gradscope.records import Finding
from gradscope.records.diff import Change, Changes, LayerChange, Presence, SuiteChanges
from gradscope.report.shared import units

ALIKE = 0.0043
"""Powers of ten: less than 1% is no change."""
NEW = "new findings"
MOST = 24
"""Layers shown without `--all`; the largest changes come first."""
NUMBERS: dict[tuple[str, str], Callable[[LayerChange], Change]] = {
    ("grad", "rms"): lambda layer: layer.gradient_rms,
    ("δ", "rms"): lambda layer: layer.delta_rms,
    ("activ.", "rms"): lambda layer: layer.activation_rms,
    ("weight", "rms"): lambda layer: layer.weight_rms,
}
MARKS = {Presence.NEW: "+", Presence.GONE: "-", Presence.BOTH: ""}


def presence(found: SuiteChanges) -> list[str]:
    """What there is nothing to compare with."""
    said = [f"Only in the new run: {', '.join(found.new)}."] if found.new else []
    said += [f"No longer judged: {', '.join(found.gone)}."] if found.gone else []
    return said or ([] if found.targets else ["Nothing was judged in both runs."])


def shown_layers(found: Changes, show_all: bool) -> tuple[Sequence[LayerChange], int, int]:
    """The layers that are shown, how many are as before, and how many changed and are not shown."""
    if show_all:
        return found.layers, 0, 0
    changed = [layer for layer in found.layers if layer.size > ALIKE]
    return changed[:MOST], len(found.layers) - len(changed), max(0, len(changed) - MOST)


def factor(change: Change) -> str:
    """`×0.25`; `=` within 1%; `0 → 3` and the like where no factor can say it."""
    if change.old is None and change.new is None:
        return units.NOT_MEASURED
    if change.size <= ALIKE:
        return "="
    if change.size == float("inf"):
        return values(change)
    return f"×{units.number(change.factor)}"


def values(change: Change) -> str:
    return from_to(units.number(change.old), units.number(change.new))


def from_to(old: str, new: str) -> str:
    return new if old == new else f"{old} → {new}"


def groups(found: Changes) -> list[tuple[str, tuple[Finding, ...]]]:
    each = [(NEW, found.new_findings), ("findings that are gone", found.gone_findings)]
    return [(title, findings) for title, findings in each if findings]


def named(finding: Finding) -> str:
    where = finding.layer or finding.parameter
    return finding.rule + (f" in {where}" if where else "")
