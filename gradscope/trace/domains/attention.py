"""Attention, recognized by its operations: scores that are products of two values of the model, normalized by
a softmax, which then weigh a third one.

Where it is found, the plan gets a probe of the weights. Inside a `while` and inside a function with a
derivative of its own there is no place for one.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from jax.extend.core import JaxprEqn

from gradscope.records import WrongAxis
from gradscope.trace import jaxprs
from gradscope.trace.attention_rows import AttentionAxes
from gradscope.trace.domains.located import Located, Place
from gradscope.trace.domains.objective import examples_of
from gradscope.trace.domains.objective.axes import shape_of
from gradscope.trace.domains.scores import Labels, Part, Scores, joined, of_equation, product, scalar
from gradscope.trace.nested.contract import Entry
from gradscope.trace.program import Program
from gradscope.trace.sites import Plan, Probe
from gradscope.trace.walk import Visit, walk


@dataclass(frozen=True)
class AttentionUse:
    """Where normalized scores weigh a value."""

    scores: Scores
    calls: tuple[JaxprEqn, ...]
    eqn: JaxprEqn
    summed_over: frozenset[int | None]
    """Axes of the scores along which the weights sum to 1."""
    contracted: frozenset[int | None]
    """Axes of the scores that the product with the values sums over."""
    examples: int | None
    """The axis of the scores that counts the examples of the batch, where only one can."""
    shared_out: bool
    """The program also sums the weights of each query, to divide by that."""
    dropped: bool
    """Some weights are set to 0 before they meet the values: by dropout, or by a mask."""
    probe: Probe | None
    """`None` where it is not measured."""

    @property
    def wrong_axis(self) -> WrongAxis | None:
        """Along which the weights sum to 1, where the product with the values does not sum over it."""
        over, known = self.summed_over, None not in self.summed_over | self.contracted
        if not known or not over or over & self.contracted or self.shared_out:
            return None
        if self.examples is not None and over == {self.examples}:
            return WrongAxis.EXAMPLES
        queries = [side for side in self.scores.sides if not side & self.contracted]
        return WrongAxis.QUERIES if len(queries) == 1 and over <= queries[0] else None


class _Read(NamedTuple):
    place: tuple[int, int]
    """An equation, and which operand of it."""
    var: Any
    labels: Labels

    def fits(self, other: _Read) -> bool:
        """Axis for axis."""
        return self.labels == other.labels and shape_of(self.var) == shape_of(other.var)


class _Attentions(Located[Part]):
    def __init__(self, examples: int, first: int) -> None:
        """`first` is the number of the first probe, below 0; the next one is lower."""
        self._examples, self._first = examples, first
        self._scores: dict[tuple[int, int], _Read] = {}
        """By jaxpr and number: where they were last read there."""
        self._weights: dict[tuple[int, int], _Read] = {}
        """The same of weights of which none was dropped."""
        self.summed: set[tuple[int, frozenset[int | None]]] = set()
        """Weights of which scores are summed, and along which axes."""
        self.found: dict[tuple[Any, ...], tuple[AttentionUse, Plan | None, int]] = {}

    def literal(self, atom: Any, place: Place) -> Part:
        del place
        return Part(number=scalar(atom))

    def constant(self, value: Any, place: Place) -> Part:
        del value, place
        return Part(data=True)

    def at_site(self, value: Part, site: int) -> Part:
        return replace(value, site=site)

    def entering(self, visit: Visit[Part, Place], entry: Entry) -> list[Part]:
        values = super().entering(visit, entry)
        return values if visit.inside.calls else [value.carried for value in values]

    def leaving(self, visit: Visit[Part, Place], carried: list[Part], outs: list[Part]) -> list[Part]:
        return outs if visit.inside.calls else [out.carried for out in outs]

    def join(self, values: list[Part]) -> Part:
        factors = {value.factor for value in values}
        return replace(joined(values), factor=factors.pop() if len(factors) == 1 else None)

    def before(self, eqn: JaxprEqn, values: list[Part], place: Place, index: int) -> None:
        for operand, value in enumerate(values):
            read = _Read((index, operand), eqn.invars[operand], value.labels)
            if value.scores is not None and not value.scores.shifted:
                self._scores[id(place), value.scores.number] = read
            if value.weights is not None and not value.dropped:
                self._weights[id(place), value.weights.number] = read

    def plain(self, eqn: JaxprEqn, values: list[Part], place: Place, index: int) -> list[Part]:
        found = joined(values)
        if eqn.primitive.name in ("slice", "split"):
            return [values[0].carried] * len(eqn.outvars)
        if len(eqn.outvars) != 1 or not values:
            return [found] * len(eqn.outvars)
        if eqn.primitive.name != "dot_general":
            result = of_equation(eqn, values, found)
            if eqn.primitive.name == "reduce_sum" and values[0].weights is not None:
                self.summed.add((values[0].weights.number, result.over))
            return [result]
        for operand, part in enumerate(values):
            if part.weights is not None and values[1 - operand].data:
                self._note(part, operand, place, index)
        return [product(eqn, values, found, hash((id(place), id(eqn))))]

    def _note(self, part: Part, operand: int, place: Place, index: int) -> None:
        eqn, calls, scores = self.around[0], self.around[1:], part.weights
        assert scores is not None
        key = (id(place), *map(id, calls), id(eqn))
        number = len(self.found) if key not in self.found else list(self.found).index(key)
        ours, theirs = (jaxprs.moves(eqn) or [(), ()])[operand], (jaxprs.moves(eqn) or [(), ()])[1 - operand]
        if all(to is None or to in ours for to in theirs):
            return  # nothing of the other value is left: a comparison with targets
        labels = part.labels if len(part.labels) == len(ours) else (None,) * len(ours)
        keys = tuple(axis for axis, to in enumerate(ours) if to is None)
        contracted = frozenset(labels[axis] for axis in keys)
        probe = None
        if place is not None:
            shape = shape_of(eqn.invars[operand])
            read = _Read((index, operand), eqn.invars[operand], labels)
            whole = self._weights.get((id(place), scores.number), read)
            spots = {read.place: read.var} if not whole.fits(read) else {whole.place: whole.var}
            seen = self._scores.get((id(place), scores.number))
            if seen is not None and seen.fits(read):
                spots[seen.place] = seen.var
            axes = replace(
                self._axes(scores, labels, keys, shape, self._examples_at(place)), scored=len(spots) == 2
            )
            probe = Probe(
                self._first - number,
                None,
                tuple(spots.values()),
                place.lead,
                places=tuple(spots),
                look=axes,
            )
        about = AttentionUse(
            scores=scores,
            calls=calls,
            eqn=eqn,
            summed_over=part.over,
            contracted=contracted,
            examples=self._counting(scores),
            shared_out=False,
            dropped=part.dropped,
            probe=probe,
        )
        self.found[key] = about, place, index

    def _counting(self, scores: Scores) -> int | None:
        shape, (left, right) = shape_of(scores.eqn.outvars[0]), scores.sides
        alike = [a for a, size in enumerate(shape) if size == self._examples and a not in left | right]
        return alike[0] if alike == [0] else None

    def _examples_at(self, plan: Plan) -> set[int]:
        """How many examples there are; on a mesh a device may have a part of them."""
        devices = math.prod(axis.length for axis in plan.lead if axis.devices)
        return {self._examples, self._examples // devices if devices else 0}

    def _axes(
        self,
        scores: Scores,
        labels: Labels,
        keys: tuple[int, ...],
        shape: tuple[int, ...],
        examples: Collection[int],
    ) -> AttentionAxes:
        shared = [
            axis
            for axis, label in enumerate(labels)
            if axis not in keys and label is not None and not any(label in side for side in scores.sides)
        ]
        batch = next((axis for axis in shared if shape[axis] in examples), None)
        own = {label for side in scores.sides if not side & {labels[axis] for axis in keys} for label in side}
        free = [axis for axis, label in enumerate(labels) if label in own and axis not in keys]
        alike = [axis for axis in free if [shape[axis]] == [shape[key] for key in keys]]
        query = next(iter(alike or sorted(free, key=lambda axis: -shape[axis])), None)
        heads = [axis for axis in [*shared, *free] if axis not in (batch, query)]
        return AttentionAxes(
            keys=keys,
            query=query,
            heads=tuple(heads),
            masked=scores.masked,
            scored=False,
            shape=shape,
        )


def find_attentions(program: Program, batch: Any) -> tuple[AttentionUse, ...]:
    """In the order of the program; its plan gets a probe for each."""
    if not jaxprs.has_primitive(program.body, frozenset({"exp"})):
        return ()
    first = min((probe.id for probe in program.plan.all_probes()), default=0) - 1
    domain, weights = _Attentions(examples_of(program, batch), first), len(program.leaves)
    count = len(program.body.jaxpr.invars)
    inputs = [Part(weight=i < weights, data=i >= weights) for i in range(count)]
    walk(domain, program.body, inputs, program.plan)
    for about, plan, index in domain.found.values():
        if about.probe is not None and plan is not None:
            plan.probes[index] = about.probe
    return tuple(
        replace(about, shared_out=(about.scores.number, about.contracted) in domain.summed)
        for about, _, _ in domain.found.values()
    )
