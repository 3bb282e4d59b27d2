"""From the findings of several seeds to those of the run: what most of them found. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median, pstdev

from gradscope.records import (
    Finding,
    Key,
    Layer,
    Measurement,
    Report,
    Severity,
    ShortTraining,
    Skipped,
    Timing,
    Verification,
    Votes,
)
from gradscope.rules import VERIFIED, get

Findings = Sequence[Finding]


@dataclass(frozen=True, slots=True)
class Combined:
    findings: tuple[Finding, ...]
    minority_findings: tuple[Finding, ...]
    """Found in some of the seeds, but not in most."""


@dataclass(frozen=True, slots=True)
class SeedRun:
    """What one seed measured, and what was found in it."""

    seed: int
    measurement: Measurement
    findings: tuple[Finding, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...] = ()
    training: ShortTraining | None = None
    gradients: Verification | None = None
    """Of the first seed, where they were verified."""
    rules: tuple[str, ...] = ()
    """Those that judged it."""
    left_out: tuple[str, ...] = ()
    """Rules that were not asked for."""
    timing: Timing = field(default_factory=Timing)


def over_seeds(report: Report, runs: Sequence[SeedRun]) -> Report:
    """The report of the first seed with what all say together."""
    first = runs[0]
    # Gradients are verified for the first seed alone.
    once = {f.rule for f in first.findings if get(f.rule).family == VERIFIED}
    together = combine([run.findings for run in runs], first.measurement, once)
    return replace(
        report,
        flow=with_spreads(first.measurement, [run.measurement for run in runs[1:]]),
        findings=together.findings,
        notes=merged_notes([run.notes for run in runs], report.seeds),
        minority_findings=together.minority_findings,
        skipped=(*merged([run.skipped for run in runs], report.seeds), *told(together.minority_findings)),
    )


def combine(runs: Sequence[Findings], measurement: Measurement, once: Collection[str] = ()) -> Combined:
    """What more than half of the seeds found, and what one found where a rule has no limit to be near to;
    `once` are rules that were asked of the first seed alone.

    A finding is as grave as more than half of the seeds find it, or graver, and is told with the numbers of
    the seed in the middle of those that find it so. A rule may point at one layer in one seed and at its
    neighbour in the next: where most seeds have it somewhere and no one layer has most of them, it is one
    finding, at the layer that has it most often. Where most seeds are sick, but no rule finds most of them
    so, the rule that finds it most often speaks.
    """
    kept = [finding for finding in runs[0] if finding.rule in once]
    votes = [[finding for finding in run if finding.rule not in once] for run in runs]
    near: list[Finding] = []
    for rule in dict.fromkeys(finding.rule for run in votes for finding in run):
        found, left = _of_rule(
            [[f for f in run if f.rule == rule] for run in votes], get(rule).single_seed_suffices
        )
        kept, near = kept + found, near + left
    for severity in (Severity.ERROR, Severity.WARNING):
        kept, near = _across_rules(severity, votes, kept, near)
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


def merged_notes(notes: Sequence[Sequence[str]], seeds: Sequence[int]) -> tuple[str, ...]:
    """The notes of the first seed, and those that only a later one has."""
    found = dict.fromkeys(notes[0], "")
    for seed, entries in zip(seeds[1:], notes[1:], strict=True):
        for entry in entries:
            found.setdefault(entry, f" (seed {seed})")
    return tuple(entry + where for entry, where in found.items())


def merged(skipped: Sequence[Sequence[Skipped]], seeds: Sequence[int]) -> tuple[Skipped, ...]:
    """What the first seed could not judge, and what only a later one could not."""
    found = {entry: "" for entry in skipped[0]}
    for seed, entries in zip(seeds[1:], skipped[1:], strict=True):
        for entry in entries:
            found.setdefault(entry, f" (seed {seed})")
    return tuple(replace(entry, reason=entry.reason + where) for entry, where in found.items())


def _of_rule(runs: Sequence[Findings], single_seed_suffices: bool) -> tuple[list[Finding], list[Finding]]:
    """Of one rule: what counts, and the rest."""
    groups = _groups(runs)
    kept = [_voted(group, single_seed_suffices) for group in groups.values() if _most(group)]
    rest = [group for group in groups.values() if not _most(group)]
    together = [[f for group in rest for f in group[place]] for place in range(len(runs))]
    if rest and (single_seed_suffices or _most(together)):
        return [*kept, _at_its_place(_voted(together, single_seed_suffices), together)], []
    return kept, [_voted(group, single_seed_suffices) for group in rest]


def _across_rules(
    severity: Severity, runs: Sequence[Findings], kept: list[Finding], near: list[Finding]
) -> tuple[list[Finding], list[Finding]]:
    """Where most seeds have something so grave and nothing of it is kept: what most of those say."""
    sick = [[f for f in run if f.severity.rank <= severity.rank] for run in runs]
    if not _most(sick) or any(f.severity.rank <= severity.rank for f in kept):
        return kept, near
    rules = dict.fromkeys(f.rule for run in sick for f in run)
    group = max(([[f for f in run if f.rule == rule] for run in sick] for rule in rules), key=_seeds)
    finding = _at_its_place(_voted(group), group)
    what = "an error" if severity is Severity.ERROR else "a warning or an error"
    told = (
        f"{finding.message} {_seeds(sick)} of {len(runs)} seeds have {what}, not all the same; this one is "
        "there most often."
    )
    others = [f for f in kept if f.key != finding.key]
    return [*others, replace(finding, message=told)], [f for f in near if f.rule != finding.rule]


def _groups(runs: Sequence[Findings]) -> dict[Key, list[list[Finding]]]:
    groups: dict[Key, list[list[Finding]]] = {}
    for place, run in enumerate(runs):
        for finding in run:
            groups.setdefault(finding.key, [[] for _ in runs])[place].append(finding)
    return groups


def _at_its_place(voted: Finding, group: Sequence[Findings]) -> Finding:
    """The finding where its rule points most often."""
    often = max(_groups(group).values(), key=_seeds)
    same = next((f for found in often for f in found if f.severity is voted.severity), voted)
    return replace(same, votes=voted.votes)


def _seeds(group: Sequence[Findings]) -> int:
    return sum(bool(found) for found in group)


def _most(group: Sequence[Findings]) -> bool:
    return 2 * _seeds(group) > len(group)


def _voted(group: Sequence[Findings], gravest: bool = False) -> Finding:
    """The finding at the severity that most seeds reach, or that all of those few that have it reach; or at
    the `gravest` of any."""
    ranks = sorted(min(f.severity.rank for f in found) for found in group if found)
    place = 0 if gravest else min(len(group) // 2, len(ranks) - 1)
    severity = list(Severity)[ranks[place]]
    each = [f for found in group for f in found]
    chosen = _middle([f for f in each if f.severity is severity] or each[:1])
    return replace(chosen, severity=severity, votes=Votes(_seeds(group), len(group)))


def _middle(findings: Findings) -> Finding:
    """Neither the mildest nor the gravest; of those without a degree the first."""
    return sorted(findings, key=_degree)[len(findings) // 2 if _degree(findings[0]) else 0]


def _degree(finding: Finding) -> float:
    value = measure_of(finding)
    return 0.0 if value is None else badness(value)


def measure_of(finding: Finding) -> float | None:
    """The number of its evidence that says how bad it is; `None` where its rule has no degree."""
    key = get(finding.rule).measure
    value = None if key is None else finding.evidence.get(key)
    return float(value) if isinstance(value, int | float) else None


def badness(value: float) -> float:
    """How far a ratio is from 1, on a log scale."""
    return abs(math.log(value)) if 0 < value < math.inf else math.inf


def _levels(measurement: Measurement) -> Mapping[str, float]:
    return {
        layer.name: math.log(layer.delta_norm)
        for layer in measurement.layers
        if layer.delta_norm and math.isfinite(layer.delta_norm)
    }
