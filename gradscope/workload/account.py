"""The operations of a training step, by layer and by line: counted in the program, nothing runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from gradscope.footprint.layers import Layers
from gradscope.footprint.linearized import Linearized, linearized
from gradscope.footprint.origins import Spotted
from gradscope.records import KindCost, LineCost, Source
from gradscope.trace import jaxprs
from gradscope.trace.jaxprs import Body
from gradscope.trace.nested.registry import inside
from gradscope.trace.program import Program
from gradscope.trace.sources import source_of
from gradscope.workload.counting import CountedWork
from gradscope.workload.walking import steps, total

Place = tuple[int, ...]
"""An equation of the user's loss and the calls around it, by their identity."""


@dataclass
class Both:
    forward: CountedWork = field(default_factory=CountedWork)
    backward: CountedWork = field(default_factory=CountedWork)

    @property
    def operations(self) -> float:
        return self.forward.operations + self.backward.operations


def halves(body: Body, weights: Sequence[Any], others: Sequence[Any]) -> Linearized:
    """The loss forward, with what backward reads of it, and backward: nothing in them that is not needed."""
    found = linearized(body, weights, others)
    backward, read = jaxprs.live(found.backward, [True] * len(found.backward.jaxpr.outvars))
    wanted = [True, *read[:-1]]
    outs = len(found.forward.jaxpr.outvars)
    forward, _ = jaxprs.live(found.forward, [*wanted, *[False] * (outs - len(wanted))][:outs])
    return Linearized(forward, backward)


def operations_of(body: Body, weights: Sequence[Any], others: Sequence[Any]) -> tuple[float, float]:
    """Forward and backward."""
    found = halves(body, weights, others)
    return total(found.forward), total(found.backward)


class Account:
    """What each equation of the loss costs, forward and backward."""

    def __init__(self, program: Program, weights: Sequence[Any], others: Sequence[Any]) -> None:
        self._layers = Layers(program)
        self.by_place: dict[Place, Both] = {}
        self.spots: dict[Place, Spotted] = {}
        self.by_layer: dict[str | None, Both] = {}
        self.kinds: dict[str, Both] = {}
        self.written = CountedWork()
        """With the step of a loop counted once."""
        self.opened: set[int] = set()
        """Loops of which only the run knows how often they run."""
        self.inside: dict[Place, dict[str | None, Both]] = {}
        """By equation of the program in which all calls are written out (`container`), and layer."""
        found = halves(program.body, weights, others)
        self._take(found.forward, "forward")
        self._take(found.backward, "backward")

    def _take(self, body: Body, half: str) -> None:
        before: Spotted | None = None
        for step in steps(body):
            spot = self._layers.place(step.place) or before
            before = spot
            layer = None if spot is None else self._layers.layer(spot)
            self.written.add(step.work, step.written)
            if step.opened:
                self.opened |= {id(call) for call in step.place.calls if inside(call) is not None}
            for both in self._rows(spot, layer):
                getattr(both, half).add(step.work, step.times)
            for kind, amount in step.work.kinds.items():
                row = self.kinds.setdefault(kind, Both())
                getattr(row, half).kinds[kind] += amount * step.times

    def _rows(self, spot: Spotted | None, layer: str | None) -> Iterator[Both]:
        yield self.by_layer.setdefault(layer, Both())
        if spot is not None:
            place = identity(spot)
            self.spots.setdefault(place, spot)
            yield self.by_place.setdefault(place, Both())
            yield self.inside.setdefault(container(spot), {}).setdefault(layer, Both())

    def layers_in(self, spot: Spotted) -> dict[str | None, Both]:
        """What an equation of the program in which all calls are written out costs, by layer: several where
        it is a loop around them."""
        found = {layer: both for layer, both in self.inside.get(container(spot), {}).items()}
        busy = {layer: both for layer, both in found.items() if both.operations}
        return busy or {self._layers.layer(spot): Both()}

    @property
    def uncounted(self) -> tuple[str, ...]:
        return tuple(sorted(self.written.uncounted))

    def kind_costs(self) -> tuple[KindCost, ...]:
        found = [
            KindCost(kind, both.forward.operations, both.backward.operations)
            for kind, both in self.kinds.items()
            if both.operations
        ]
        return tuple(sorted(found, key=lambda each: -(each.forward + each.backward)))

    def line_costs(self) -> tuple[LineCost, ...]:
        """Equations of one primitive at one line are one row."""
        rows: dict[tuple[str, Source | None], list[Both]] = {}
        for place, both in self.by_place.items():
            spot = self.spots[place]
            if both.operations:
                key = _named(spot), source_of(spot.eqn, spot.calls)
                rows.setdefault(key, []).append(both)
        found = [
            LineCost(
                primitive,
                source,
                len(each),
                sum(both.forward.operations for both in each),
                sum(both.backward.operations for both in each),
                sum(both.forward.size + both.backward.size for both in each),
            )
            for (primitive, source), each in rows.items()
        ]
        return tuple(sorted(found, key=lambda row: -(row.forward + row.backward)))

    def operations_within(self, owners: set[int]) -> tuple[float, float]:
        """Forward and backward, of the equations with these identities and of what they carry."""
        found = [both for place, both in self.by_place.items() if not owners.isdisjoint(place)]
        return sum(b.forward.operations for b in found), sum(b.backward.operations for b in found)


def _named(spot: Spotted) -> str:
    """A function with a rule of its own by its name: `relu`."""
    carried = inside(spot.eqn)
    return (jaxprs.function_name(spot.eqn) if carried is not None else "") or spot.eqn.primitive.name


def identity(spot: Spotted) -> Place:
    return tuple(id(eqn) for eqn in (spot.eqn, *spot.calls))


def container(spot: Spotted) -> Place:
    """The outermost equation around it that is no mere call: it stands in the program in which all calls are
    written out."""
    chain = (spot.eqn, *spot.calls)
    for depth in range(len(chain) - 1, 0, -1):
        carried = inside(chain[depth])
        if carried is None or not carried.inlined:
            return tuple(id(eqn) for eqn in chain[depth:])
    return identity(spot)
