"""Routers, recognized by their operations: some of the scores that a layer gives each row are chosen, and the
choice decides which values of the model are used.

Where one is found, the plan gets a probe of the scores.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.choices import Choice
from gradscope.trace.domains.located import Located, Place
from gradscope.trace.domains.objective.axes import shape_of
from gradscope.trace.program import Program
from gradscope.trace.sites import Plan, Probe, members_of
from gradscope.trace.walk import walk

_CHOOSES = frozenset({"top_k", "argmax"})
_MEETS = frozenset(
    {"dot_general", "mul", "select_n", "gather", "scatter-add", "scatter", "ragged_dot_general"}
)
_BENDS = frozenset({"exp", "logistic"})


@dataclass(frozen=True, slots=True)
class Routed:
    """What is known of one value. Sets are bits."""

    weight: bool = False
    data: bool = False
    site: int | None = None
    """The last layer on the way to it."""
    bent: bool = False
    """A softmax or a sigmoid stands between that and it."""
    chosen: int = 0
    """Choices that it depends on."""
    scores: int = 0
    """Choices of whose scores it is made, up to the next product."""
    leaves: int = 0
    """Of the params that it depends on."""


@dataclass(frozen=True)
class Router:
    eqn: JaxprEqn
    calls: tuple[JaxprEqn, ...]
    site: int | None
    """The layer that gives the scores."""
    plan: Plan
    index: int
    probe: Probe


class _Routers(Located[Routed]):
    def __init__(self, first: int) -> None:
        """`first` is the number of the first probe, below 0; the next one is lower."""
        self._first = first
        self._numbers: dict[tuple[Any, ...], int] = {}
        self.found: dict[int, Router] = {}
        self.gated = 0
        """Choices whose scores are normalized, before or after."""
        self.used = 0
        """Choices that meet weights, or values that do not depend on all that their scores depend on: labels
        that a classifier makes for itself meet its own scores."""
        self._made_of: dict[int, int] = {}
        """By the number of a choice, the leaves of its scores."""

    def literal(self, atom: Any, place: Place) -> Routed:
        del atom, place
        return Routed()

    def constant(self, value: Any, place: Place) -> Routed:
        del value, place
        return Routed(data=True)

    def at_site(self, value: Routed, site: int) -> Routed:
        return Routed(value.weight, value.data, site, chosen=value.chosen, leaves=value.leaves)

    def join(self, values: list[Routed]) -> Routed:
        site = max((value.site for value in values if value.site is not None), default=None)
        chosen = scores = leaves = 0
        for value in values:
            chosen, scores, leaves = chosen | value.chosen, scores | value.scores, leaves | value.leaves
        return Routed(
            any(value.weight for value in values),
            any(value.data for value in values),
            site,
            any(value.bent for value in values),
            chosen,
            scores,
            leaves,
        )

    def plain(self, eqn: JaxprEqn, values: list[Routed], place: Place, index: int) -> list[Routed]:
        name, found = eqn.primitive.name, self.join(values)
        if name in _CHOOSES and found.weight and found.data and place is not None:
            return self._chosen(eqn, found, place, index)
        if name in _BENDS:
            self.gated |= found.scores
            found = replace(found, bent=True)
        if name in _MEETS:
            for value in values:
                for other in (other for other in values if other is not value and other.weight):
                    self.used |= self._told_apart(value.chosen, other.leaves)
        if name == "dot_general":
            found = replace(found, bent=False, scores=0)
        return [found] * len(eqn.outvars)

    def _told_apart(self, chosen: int, leaves: int) -> int:
        """Those of the choices whose scores depend on other leaves, too."""
        return sum(1 << number for number in members_of(chosen) if self._made_of[number] & ~leaves)

    def _chosen(self, eqn: JaxprEqn, found: Routed, plan: Plan, index: int) -> list[Routed]:
        key = (id(plan), *map(id, self.around))
        number = self._numbers.setdefault(key, len(self._numbers))
        shape, axis = shape_of(eqn.invars[0]), jaxprs.chosen_along(eqn)
        several = shape_of(eqn.outvars[0])[axis] if eqn.primitive.name == "top_k" else 1
        if 0 < several < shape[axis]:
            probe = Probe(
                self._first - number,
                None,
                (eqn.invars[0],),
                plan.lead,
                places=((index, 0),),
                look=Choice(axis, several, shape),
            )
            self.found[number] = Router(eqn, self.around[1:], found.site, plan, index, probe)
        bit = 1 << number
        self._made_of[number] = self._made_of.get(number, 0) | found.leaves
        if found.bent:
            self.gated |= bit
        part = replace(found, chosen=found.chosen | bit, scores=found.scores | bit)
        return [part] * len(eqn.outvars)


def find_routers(program: Program) -> tuple[Router, ...]:
    """In the order of the program; its plan gets a probe for each."""
    if not jaxprs.has_primitive(program.body, _CHOOSES):
        return ()
    stacked = _stacks(program)
    first = min((probe.id for probe in program.plan.all_probes()), default=0) - 1
    domain, weights = _Routers(first), len(program.leaves)
    count = len(program.body.jaxpr.invars)
    inputs = [Routed(i < weights, i >= weights, leaves=1 << i if i < weights else 0) for i in range(count)]
    walk(domain, program.body, inputs, program.plan)
    kept = []
    for number, router in domain.found.items():
        choice = router.probe.look
        experts = isinstance(choice, Choice) and choice.among in stacked
        if experts and domain.gated & domain.used & 1 << number:
            router.plan.probes[router.index] = router.probe
            kept.append(router)
    return tuple(kept)


def _stacks(program: Program) -> set[int]:
    """Numbers of experts that there may be: axes of stacks of matrices, lengths of lists of modules."""
    found = {size for leaf in program.leaves if len(leaf.shape) > 2 for size in leaf.shape[:-2]}
    listed: dict[tuple[str, str], set[int]] = defaultdict(set)
    for leaf in program.leaves:
        for match in re.finditer(r"\d+", leaf.name):
            listed[leaf.name[: match.start()], leaf.name[match.end() :]].add(int(match.group()))
    return found | {len(numbers) for numbers in listed.values() if len(numbers) > 1}
