"""The layer and the operation of the user's loss that an equation of its linearization belongs to.

Differentiating keeps the traceback of the equation that it differentiates: by it they are matched.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from jax.extend.core import JaxprEqn

from gradscope.footprint.origins import Calls, Spotted
from gradscope.trace import jaxprs
from gradscope.trace.jaxprs import Body
from gradscope.trace.program import Program

Key = tuple[int, ...]


@dataclass(frozen=True)
class _LayerStart:
    """Where a layer begins: the equation that consumes its parameters."""

    order: int
    layer: str
    place: Spotted


class Layers:
    """Of one traced loss, which has to stay alive."""

    def __init__(self, program: Program) -> None:
        self._all = list(_equations(program.body))
        self._orders: dict[Key, list[int]] = {}
        for order, place in enumerate(self._all):
            self._orders.setdefault(_key(place), []).append(order)
            if place.calls:
                self._orders.setdefault(_key(place)[:1], []).append(order)
        self._starts = self._found(program)
        self._known: dict[int, str | None] = {}

    def place(self, place: Spotted) -> Spotted | None:
        """Where in the user's loss an equation stands, or the one that differentiating it gave."""
        order = self._order(place)
        return None if order is None else self._all[order]

    def operation(self, place: Spotted) -> JaxprEqn | None:
        """What the user's loss has in the place of an equation that differentiating it gave."""
        found = self.place(place)
        return None if found is None else found.eqn

    def layer(self, place: Spotted) -> str | None:
        """The layer whose parameters were consumed last before it, or, where it was called together with
        those of the next one (the statistics of a normalization), that one."""
        order = self._order(place)
        if order is None:
            return None
        if order not in self._known:
            self._known[order] = self._layer_at(order)
        return self._known[order]

    def _layer_at(self, order: int) -> str | None:
        if not self._starts:
            return None
        at = bisect_right([start.order for start in self._starts], order)
        if at in (0, len(self._starts)):
            return self._starts[min(at, len(self._starts) - 1)].layer
        before, after = self._starts[at - 1], self._starts[at]
        here = _stack(self._all[order])
        nearer = _in_common(here, _stack(after.place)) > _in_common(here, _stack(before.place))
        return (after if nearer else before).layer

    def _order(self, place: Spotted) -> int | None:
        key = _key(place)
        found = self._orders.get(key) or self._called_alike(key)
        name = place.eqn.primitive.name
        alike = [order for order in found if self._all[order].eqn.primitive.name == name]
        real = [order for order in found if self._all[order].eqn.primitive.name != "broadcast_in_dim"]
        return next(iter(alike or real or found), None)

    def _called_alike(self, key: Key) -> list[int]:
        """Of one function that is traced once and called several times: derivatives leave out some of the
        calls around an equation, or keep the traceback of the first; the outermost call tells which."""
        found = self._orders.get(key[:1], [])
        if len(key) < 2:
            return found
        within = [order for order in found if _key(self._all[order])[-1] == key[-1]]
        suffixes = (key[depth:] for depth in range(1, len(key)))
        calls = next((suffix for suffix in suffixes if suffix in self._orders), None)
        if not within and calls is not None:
            return self._orders[calls]
        around = set(key[1:])
        shared = {order: len(around.intersection(_key(self._all[order])[1:])) for order in within or found}
        return [order for order, count in shared.items() if count == max(shared.values())]

    def _found(self, program: Program) -> list[_LayerStart]:
        orders = {_identity(place): order for order, place in reversed(list(enumerate(self._all)))}
        starts = []
        for group in program.layers:
            for site in group.sites:
                if site.eqn is None:
                    continue
                around = tuple(call for call in site.calls if call is not site.eqn)
                order = orders.get(_identity(Spotted(site.eqn, around)))
                if order is not None:
                    starts.append(_LayerStart(order, group.name, self._all[order]))
        return sorted(starts, key=lambda start: start.order)


def _equations(body: Body, calls: Calls = ()) -> Iterator[Spotted]:
    """All of a program, in order; what an equation carries comes before it."""
    for eqn in body.eqns:
        for inner in jaxprs.inner_bodies(eqn):
            yield from _equations(inner, (eqn, *calls))
        yield Spotted(eqn, calls)


def _key(place: Spotted) -> Key:
    return tuple(jaxprs.made_at(eqn) for eqn in (place.eqn, *place.calls))


def _identity(place: Spotted) -> Key:
    return tuple(id(eqn) for eqn in (place.eqn, *place.calls))


def _stack(place: Spotted) -> list[tuple[str, int]]:
    """The user's frames, from the outermost."""
    return jaxprs.user_stack(place.eqn, place.calls)[::-1]


def _in_common(one: list[tuple[str, int]], other: list[tuple[str, int]]) -> int:
    found = 0
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            break
        found += 1
    return found
