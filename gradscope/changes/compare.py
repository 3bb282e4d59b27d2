"""Two reports -> what changed between them: pure, without JAX."""

from __future__ import annotations

from collections.abc import Iterable

from gradscope.records import Finding, Layer, Report, Suite
from gradscope.records.diff import Change, Changes, LayerChange, Presence, Side, SuiteChanges


def changes(old: Report, new: Report) -> Changes:
    """Layers are matched by name, findings by rule, layer and the text of the line: lines may move."""
    appeared, gone, same = _findings(old.findings, new.findings)
    return Changes(
        old=Side(old.target, old.verdict),
        new=Side(new.target, new.verdict),
        loss=Change(old.loss, new.loss),
        gradient_norm=Change(_norm(old), _norm(new)),
        layers=_layers(_of(old), _of(new)),
        new_findings=appeared,
        gone_findings=gone,
        same_findings=same,
    )


def suite_changes(old: Suite, new: Suite) -> SuiteChanges:
    """Two runs of one target are compared whatever it is called; others target by target, by name."""
    if old.only is not None and new.only is not None:
        return SuiteChanges((changes(old.only, new.only),), alone=True)
    before = {outcome.target: outcome.report for outcome in old.outcomes if outcome.report is not None}
    after = {outcome.target: outcome.report for outcome in new.outcomes if outcome.report is not None}
    return SuiteChanges(
        targets=tuple(changes(before[name], report) for name, report in after.items() if name in before),
        new=tuple(name for name in after if name not in before),
        gone=tuple(name for name in before if name not in after),
    )


def _of(report: Report) -> tuple[Layer, ...]:
    return () if report.flow is None else report.flow.layers


def _norm(report: Report) -> float | None:
    return None if report.flow is None else report.flow.gradient_norm


def _layers(old: Iterable[Layer], new: Iterable[Layer]) -> tuple[LayerChange, ...]:
    before = {layer.name: layer for layer in old}
    after = {layer.name: layer for layer in new}
    names = [*after, *(name for name in before if name not in after)]
    found = [_layer(name, before.get(name), after.get(name)) for name in names]
    return tuple(sorted(found, key=lambda layer: -layer.size))


def _layer(name: str, old: Layer | None, new: Layer | None) -> LayerChange:
    presence = Presence.NEW if old is None else Presence.GONE if new is None else Presence.BOTH

    def change(number: str) -> Change:
        return Change(getattr(old, number, None), getattr(new, number, None))

    return LayerChange(
        name,
        presence,
        gradient_rms=change("gradient_rms"),
        delta_rms=change("delta_rms"),
        activation_rms=change("activation_rms"),
        weight_rms=change("weight_rms"),
    )


def _findings(
    old: Iterable[Finding], new: Iterable[Finding]
) -> tuple[tuple[Finding, ...], tuple[Finding, ...], tuple[Finding, ...]]:
    """New, gone, the same; a finding that is there twice is matched twice."""
    left = list(old)
    appeared, same = [], []
    for finding in new:
        match = next((other for other in left if other.key == finding.key), None)
        if match is None:
            appeared.append(finding)
        else:
            left.remove(match)
            same.append(finding)
    return tuple(appeared), tuple(left), tuple(same)
