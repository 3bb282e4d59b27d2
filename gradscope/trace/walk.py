"""Goes through a program and all that it carries, with abstract values in the place of arrays.

What flows is a `Domain`: which values there are, what a plain equation makes of them, how two are joined.
How values get into a jaxpr that an equation carries, and out of it, is the same for every domain and comes
from `nested`; loops are gone round until nothing changes, here and nowhere else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.jaxprs import Body
from gradscope.trace.nested.contract import Entry, Inside
from gradscope.trace.nested.registry import inside

V = TypeVar("V")
"""What is known of one value."""
P = TypeVar("P")
"""A place: which of the program's jaxprs is walked, and by which way it was entered."""
T = TypeVar("T")

Path = tuple[int, ...]
"""Where an equation stands: its index, then for each level inside the number of the jaxpr and the index."""


@dataclass(frozen=True)
class Visit(Generic[V, P]):
    """An equation that carries jaxprs, and what is known of its operands."""

    eqn: JaxprEqn
    inside: Inside
    values: list[V]
    place: P
    index: int


class Domain(ABC, Generic[V, P]):
    """What flows through a program, from its inputs to its outputs."""

    around: tuple[JaxprEqn, ...] = ()
    """The equation at hand and those around it, innermost first: `walk` keeps it."""

    @abstractmethod
    def literal(self, atom: Any, place: P) -> V: ...

    @abstractmethod
    def constant(self, value: Any, place: P) -> V:
        """Of an array that the jaxpr closes over."""

    @abstractmethod
    def plain(self, eqn: JaxprEqn, values: list[V], place: P, index: int) -> list[V]:
        """The results of an equation that is not entered."""

    @abstractmethod
    def below(self, visit: Visit[V, P], entry: Entry) -> P:
        """The place of a jaxpr that the equation carries."""

    @abstractmethod
    def join(self, values: list[V]) -> V:
        """What is known of a value that is any one of these."""

    def enters(self, visit: Visit[V, P]) -> bool:
        """Whether the equation is looked into; else `plain` has it."""
        del visit
        return True

    def bound(self, value: V) -> V:
        """What a variable is bound to."""
        return value

    def before(self, eqn: JaxprEqn, values: list[V], place: P, index: int) -> None:
        """Called with the operands of every equation, each time that it is met."""

    def after(self, eqn: JaxprEqn, outs: list[V], place: P, index: int) -> list[V]:
        """The results of every equation, once more."""
        del eqn, place, index
        return outs

    def entering(self, visit: Visit[V, P], entry: Entry) -> list[V]:
        """The inputs of a jaxpr; of a loop's, those of all steps in one."""
        return [visit.values[operand] for operand in entry.operands]

    def again(self, before: V, after: V, visit: Visit[V, P], *, first: bool) -> V:
        """What is carried around a loop, seen at a step and after it; `first` in the first turn of the walk.

        It has to climb: the loop is gone round until no such value changes.
        """
        del visit, first
        return self.join([before, after])

    def settled(self, one: V, other: V) -> bool:
        return one == other

    def leaving(self, visit: Visit[V, P], carried: list[V], outs: list[V]) -> list[V]:
        """The results, given the outputs of the jaxprs; `carried` is what goes around a loop, else empty."""
        del visit, carried
        return outs


def walk(domain: Domain[V, P], body: Body, inputs: Sequence[V], place: P) -> list[V]:
    """What is known of the outputs of `body`, given that of its inputs."""

    def equation(index: int, eqn: JaxprEqn, values: list[V]) -> list[V]:
        domain.around = (eqn, *domain.around)
        domain.before(eqn, values, place, index)
        carried = inside(eqn)
        visit = None if carried is None else Visit(eqn, carried, values, place, index)
        if visit is not None and domain.enters(visit):
            outs = _enter(domain, visit)
        else:
            outs = domain.plain(eqn, values, place, index)
        found = domain.after(eqn, outs, place, index)
        domain.around = domain.around[1:]
        return [domain.bound(out) for out in found]

    return straight(
        body,
        [domain.bound(value) for value in inputs],
        [domain.bound(domain.constant(value, place)) for value in body.consts],
        lambda atom: domain.literal(atom, place),
        equation,
    )


def straight(
    body: Body,
    inputs: Sequence[V],
    consts: Sequence[V],
    literal: Callable[[Any], V],
    equation: Callable[[int, JaxprEqn, list[V]], list[V]],
) -> list[V]:
    """One equation after the other; `equation` is given its index and operands, and gives its results."""
    known: dict[Any, V] = dict(zip(body.jaxpr.constvars, consts, strict=True))
    known.update(zip(body.jaxpr.invars, inputs, strict=True))

    def read(atom: Any) -> V:
        return literal(atom) if jaxprs.is_literal(atom) else known[atom]

    for index, eqn in enumerate(body.eqns):
        outs = equation(index, eqn, [read(atom) for atom in eqn.invars])
        known.update(zip(eqn.outvars, outs, strict=True))
    return [read(atom) for atom in body.jaxpr.outvars]


def _enter(domain: Domain[V, P], visit: Visit[V, P]) -> list[V]:
    if visit.inside.loop is not None:
        return _go_round(domain, visit)
    ways = [
        walk(domain, entry.body, domain.entering(visit, entry), domain.below(visit, entry))
        for entry in visit.inside.entries
    ]
    outs = ways[0] if len(ways) == 1 else [domain.join(list(each)) for each in zip(*ways, strict=True)]
    return domain.leaving(visit, [], outs)


def _go_round(domain: Domain[V, P], visit: Visit[V, P]) -> list[V]:
    (entry,) = visit.inside.entries
    inputs, where = domain.entering(visit, entry), entry.carried

    def turn(carried: list[V]) -> tuple[list[V], list[V]]:
        values = [*inputs[: where.start], *carried, *inputs[where.stop :]]
        outs = walk(domain, entry.body, values, domain.below(visit, entry))
        return outs, outs[: len(where)]

    def again(before: V, after: V, first: bool) -> V:
        return domain.again(before, after, visit, first=first)

    outs, carried = until_settled(turn, inputs[where.start : where.stop], again, domain.settled)
    return domain.leaving(visit, carried, outs)


def until_settled(
    turn: Callable[[list[V]], tuple[T, list[V]]],
    start: list[V],
    merge: Callable[[V, V, bool], V],
    settled: Callable[[V, V], bool],
) -> tuple[T, list[V]]:
    """Goes round a loop until what it carries stays as it is.

    `turn` gives what it found and what it carries on; `merge` puts the latter together with what the turn
    began with, and is told whether this is the first turn. Gives what the last turn found and carried.
    """
    carried, first = start, True
    while True:
        found, after = turn(carried)
        merged = [merge(a, b, first) for a, b in zip(carried, after, strict=True)]
        if all(map(settled, merged, carried)):
            return found, merged
        carried, first = merged, False
