"""From the findings of several seeds to those of the run: what most of them found. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median, pstdev

from gradscope.records import Finding, Layer, Measurement, Report, Severity, Skipped, Votes
from gradscope.rules import VERIFIED, get

Findings = Sequence[Finding]
Key = tuple[str, str | None, str | None, str]


@dataclass(frozen=True, slots=True)
class Combined:
    findings: tuple[Finding, ...]
    near: tuple[Finding, ...]
    """Found in some of the seeds, but not in most."""


def key_of(finding: Finding) -> Key:
    """What makes two findings the same one: lines may move."""
    text = finding.source.text if finding.source is not None else ""
    return finding.rule, finding.layer, finding.parameter, text


def over_seeds(
    report: Report,
    measurements: Sequence[Measurement],
    findings: Sequence[Findings],
    skipped: Sequence[Sequence[Skipped]],
) -> Report:
    """The report of the first seed with what all say together; each list has an entry for each seed."""
    # Gradients are verified for the first seed alone.
    once = {f.rule for f in findings[0] if get(f.rule).family == VERIFIED}
    together = combine(findings, measurements[0], once)
    return replace(
        report,
        measurement=with_spreads(measurements[0], measurements[1:]),
        findings=together.findings,
        near=together.near,
        skipped=(*merged(skipped, report.seeds), *told(together.near)),
    )


def combine(runs: Sequence[Findings], measurement: Measurement, once: Collection[str] = ()) -> Combined:
    """What more than half of the seeds found; `once` are rules that were asked of the first seed alone.

    A finding is as grave as more than half of the seeds find it, or graver, and is told with the numbers of
    the first seed that finds it so. A rule may point at one layer in one seed and at its neighbour in the
    next: where most seeds have it somewhere and no one layer has most of them, it is one finding, at the
    layer that has it most often.
    """
    kept = [finding for finding in runs[0] if finding.rule in once]
    votes = [[finding for finding in run if finding.rule not in once] for run in runs]
    near: list[Finding] = []
    for rule in dict.fromkeys(finding.rule for run in votes for finding in run):
        found, left = _of_rule([[f for f in run if f.rule == rule] for run in votes])
        kept, near = kept + found, near + left
    order = {layer.name: place for place, layer in enumerate(measurement.layers)}

    def ranked(findings: Findings) -> tuple[Finding, ...]:
        return tuple(sorted(findings, key=lambda f: (f.severity.rank, order.get(f.layer or "", -1), f.rule)))

    return Combined(ranked(kept), ranked(near))


def told(near: Sequence[Finding]) -> tuple[Skipped, ...]:
    """For `skipped`: what is near its limit, and was not counted."""
    return tuple(
        Skipped(
            finding.rule + (f" in {where}" if (where := finding.layer or finding.parameter) else ""),
            f"near its limit: found in {finding.votes.found} of {finding.votes.of} seeds, not counted",
        )
        for finding in near
        if finding.votes is not None
    )


def with_spreads(first: Measurement, others: Sequence[Measurement]) -> Measurement:
    """The measurement of the first seed, with how far δ of each layer moves from seed to seed.

    The factor that all layers share is taken out: the loss of one seed is larger than that of another.
    """
    levels = [_levels(one) for one in (first, *others)]
    common = set.intersection(*(set(found) for found in levels))
    shifts = [median(found[name] for name in common) if common else 0.0 for found in levels]

    def spread(layer: Layer) -> float | None:
        if layer.name not in common:
            return None
        return pstdev(found[layer.name] - shift for found, shift in zip(levels, shifts, strict=True))

    return replace(
        first, layers=tuple(replace(layer, delta_norm_spread=spread(layer)) for layer in first.layers)
    )


def merged(skipped: Sequence[Sequence[Skipped]], seeds: Sequence[int]) -> tuple[Skipped, ...]:
    """What the first seed could not judge, and what only a later one could not."""
    found = {entry: "" for entry in skipped[0]}
    for seed, entries in zip(seeds[1:], skipped[1:], strict=True):
        for entry in entries:
            found.setdefault(entry, f" (seed {seed})")
    return tuple(replace(entry, reason=entry.reason + where) for entry, where in found.items())


def _of_rule(runs: Sequence[Findings]) -> tuple[list[Finding], list[Finding]]:
    """Of one rule: what most seeds found, and the rest."""
    groups: dict[Key, list[list[Finding]]] = {}
    for place, run in enumerate(runs):
        for finding in run:
            groups.setdefault(key_of(finding), [[] for _ in runs])[place].append(finding)
    kept = [_voted(group) for group in groups.values() if _most(group)]
    rest = {key: group for key, group in groups.items() if not _most(group)}
    together = [[f for group in rest.values() for f in group[place]] for place in range(len(runs))]
    if rest and _most(together):
        often = max(rest.values(), key=_seeds)
        finding = _voted(together)
        same = next((f for found in often for f in found if f.severity is finding.severity), finding)
        return [*kept, replace(same, votes=Votes(_seeds(together), len(runs)))], []
    return kept, [_voted(group) for group in rest.values()]


def _seeds(group: Sequence[Findings]) -> int:
    return sum(bool(found) for found in group)


def _most(group: Sequence[Findings]) -> bool:
    return 2 * _seeds(group) > len(group)


def _voted(group: Sequence[Findings]) -> Finding:
    """The finding at the severity that most seeds reach, or that all of those few that have it reach."""
    gravest = sorted(min(f.severity.rank for f in found) for found in group if found)
    place = min(len(group) // 2, len(gravest) - 1)
    severity = list(Severity)[gravest[place]]
    each = [f for found in group for f in found]
    chosen = next((f for f in each if f.severity is severity), each[0])
    return replace(chosen, severity=severity, votes=Votes(_seeds(group), len(group)))


def _levels(measurement: Measurement) -> Mapping[str, float]:
    return {
        layer.name: math.log(layer.delta_norm)
        for layer in measurement.layers
        if layer.delta_norm and math.isfinite(layer.delta_norm)
    }
