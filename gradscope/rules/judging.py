"""From what was measured to findings: runs the rules and merges symptoms into the finding of their cause."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from gradscope.errors import GradscopeError
from gradscope.rules.base import CHANGE, Hit, Parts, Rule
from gradscope.rules.registry import all_rules, get, unknown
from gradscope.rules.words import names_of

if TYPE_CHECKING:
    from gradscope.records import Finding, Skipped

Judged = tuple[Rule, Hit]


def judge(
    parts: Parts,
    *,
    select: tuple[str, ...] = (),
    ignore: tuple[str, ...] = (),
    limits: Mapping[str, Mapping[str, float]] | None = None,
    known: Callable[[Finding], bool] | None = None,
) -> tuple[tuple[Finding, ...], tuple[Skipped, ...]]:
    """Findings by severity, then in forward order, and what the rules could not judge.

    `select` keeps only those rules, `ignore` removes some. A symptom is merged only into a cause whose rule
    runs: with a cause ignored, its symptoms are reported. A finding that the baseline has `known` does not
    explain a change since then.
    """
    limits = _checked(limits or {})
    hits: list[Judged] = []
    skipped: list[Skipped] = []
    for rule in _chosen(select, ignore):
        for result in rule.run(parts, limits.get(rule.name)):
            if isinstance(result, Hit):
                hits.append((rule, result))
            else:
                skipped.append(result)
    order = {layer.name: place for place, layer in enumerate(parts.flow.layers if parts.flow else ())}
    old = {id(hit) for rule, hit in hits if known is not None and known(rule.finding(hit))}
    findings = [rule.finding(hit) for rule, hit in _without_symptoms(hits, old)]
    findings.sort(key=lambda f: (f.severity.rank, order.get(f.layer or "", -1), f.rule))
    return tuple(findings), tuple(skipped)


def judging(
    parts: Parts,
    select: tuple[str, ...] = (),
    ignore: tuple[str, ...] = (),
    skipped: Iterable[Skipped] = (),
) -> tuple[str, ...]:
    """Names of the rules that judged: those that were selected and whose needs were measured.

    `skipped` is the second result of `judge`: a rule in it has not judged.
    """
    silent = {entry.what for entry in skipped}
    able = (rule for rule in _chosen(select, ignore) if rule.can_judge(parts))
    return tuple(rule.name for rule in able if rule.name not in silent)


def left_out(parts: Parts, select: tuple[str, ...] = (), ignore: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Names of the rules that had all they need and were not asked for."""
    chosen = {rule.name for rule in _chosen(select, ignore)}
    return tuple(rule.name for rule in all_rules() if rule.can_judge(parts) and rule.name not in chosen)


def _chosen(select: tuple[str, ...], ignore: tuple[str, ...]) -> list[Rule]:
    wanted = {get(name).name for name in select} or {rule.name for rule in all_rules()}
    wanted -= {get(name).name for name in ignore}
    return [rule for rule in all_rules() if rule.name in wanted]


def _checked(limits: Mapping[str, Mapping[str, float]]) -> Mapping[str, Mapping[str, float]]:
    for name, values in limits.items():
        known = get(name).limits
        for key, value in values.items():
            if key not in known:
                raise unknown(f"limit of {name!r}", key, known)
            if not (math.isfinite(value) and value > 0):
                raise GradscopeError(
                    f"The limit {key} = {value} of {name!r} cannot be used.",
                    why="A limit must be a finite number above zero.",
                    fix=f"The default is {known[key]:g}.",
                    slug="unusable-limit",
                )
    return limits


def _without_symptoms(hits: list[Judged], old: set[int]) -> list[Judged]:
    """Merge each hit that hits of another rule explain into the first of those."""
    changes = [(rule, hit) for rule, hit in hits if rule.family == CHANGE]
    states = [(rule, hit) for rule, hit in hits if rule.family != CHANGE]
    causes = _causes(states, states)
    news = [(rule, hit) for rule, hit in states if not {id(hit), _root(id(hit), causes)} & old]
    causes |= _causes(changes, news)
    kept: list[Judged] = []
    for rule, hit in hits:
        if id(hit) not in causes:
            symptoms = [(r, h) for r, h in hits if id(h) in causes and _root(id(h), causes) == id(hit)]
            kept.append((rule, _with_symptoms(hit, symptoms)))
    return kept


def _causes(symptoms: list[Judged], hits: list[Judged]) -> dict[int, Hit]:
    """By the `id` of a hit; none is explained by what it explains itself."""
    causes: dict[int, Hit] = {}
    for rule, hit in symptoms:
        cause = _cause(rule, hit, hits)
        if cause is not None and _root(id(cause), causes) != id(hit):
            causes[id(hit)] = cause
    return causes


def _cause(rule: Rule, hit: Hit, hits: list[Judged]) -> Hit | None:
    """The first hit that explains this one, where the hits of its rule explain half of its layers.

    Of a fallback, the first error of another rule does. A cause of lower severity explains nothing: merging
    its symptom would let it pass `--fail-on`.
    """
    if hit.proved:
        return None
    own = _rank(rule, hit)
    errors = [root for other, root in hits if not (_is_fallback(other, root) or _rank(other, root))]
    if rule.fallback and errors:
        return errors[0]
    for name in rule.symptom_of:
        roots = [root for other, root in hits if other.name == name and _rank(other, root) <= own]
        for root in roots:
            if root.explains is None:
                return root
        explained = {layer for root in roots for layer in root.explains or ()}
        affected = hit.layers or ((hit.layer,) if hit.layer else ())
        if affected and 2 * sum(layer in explained for layer in affected) >= len(affected):
            return next(root for root in roots if set(affected) & set(root.explains or ()))
    return None


def _is_fallback(rule: Rule, hit: Hit) -> bool:
    return rule.fallback and not hit.proved


def _rank(rule: Rule, hit: Hit) -> int:
    return (hit.severity or rule.severity).rank


def _root(hit: int, causes: Mapping[int, Hit]) -> int:
    while hit in causes:
        hit = id(causes[hit])
    return hit


def _with_symptoms(hit: Hit, symptoms: list[Judged]) -> Hit:
    if not symptoms:
        return hit
    symptom_names = [
        f"{rule.name} at {names_of([h.layer])}" if h.layer else rule.name for rule, h in symptoms
    ]
    rules = ", ".join(sorted({rule.name for rule, _ in symptoms}))
    return replace(
        hit,
        message=f"{hit.message} Likely symptoms, not reported separately: {'; '.join(symptom_names)}.",
        evidence={**hit.evidence, "silenced": rules},
    )
