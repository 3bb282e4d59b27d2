"""Loops over time: the state that each carries, and which of them are one loop that is written in pieces.

A sequence is often cut into blocks, so that less has to be kept for the backward pass: a loop over blocks of
steps, or one loop after the other. Where a loop begins with the very state that the loop around it carries,
and hands back what that one carries on, its steps are those of the outer loop; and where a loop begins with
the state at which another ended, and applies the same parameters, it goes on. A loop whose state starts anew
in each step of the loop around it stays a loop of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jax.extend.core import JaxprEqn
from numpy.typing import NDArray

from gradscope.trace.gating import added_states, gated_states
from gradscope.trace.jaxprs import Body
from gradscope.trace.nested.contract import Counted, Inside
from gradscope.trace.nested.registry import inside
from gradscope.trace.sites import Plan, Site
from gradscope.trace.vocabulary import VIEWS
from gradscope.trace.walk import straight

_THE_SAME = VIEWS - {"broadcast_in_dim"}
"""Operations that leave the norm of δ as it is."""

Norms = NDArray[np.float64]
Read = Callable[[Site, Sequence[int]], Norms]
"""A statistic of a state at each position of these leading axes of its site."""


@dataclass(frozen=True, eq=False)
class Stretch:
    """A state that one loop carries, over all steps of the loop."""

    eqn: JaxprEqn
    plan: Plan
    """Of a step."""
    site: Site
    """The state that enters a step."""
    gated: bool
    """Does a gate decide what is kept of it?"""
    added: bool
    """Does a step add to it?"""
    inner: Chain = ()
    """The loops through which each step takes it."""

    def steps(self, read: Read, around: tuple[int, ...] = ()) -> Norms:
        """f64[around..., steps], in the order in which they run."""
        axis = len(self.plan.lead) - 1
        axes = (*around, axis)
        found = read(self.site, axes) if not self.inner else norms_of(self.inner, read, axes)
        found = np.flip(found, len(around)) if self.plan.lead[axis].reverse else found
        return found.reshape(*found.shape[: len(around)], -1)


Chain = tuple[Stretch, ...]
"""Loops that run one after the other, each with the state that the one before ended with."""


def norms_of(state: Chain, read: Read, around: tuple[int, ...] = ()) -> Norms:
    """f64[around..., steps]: of all its loops, in the order in which they run."""
    return np.concatenate([stretch.steps(read, around) for stretch in state], axis=-1)


@dataclass(frozen=True)
class Loop:
    """A loop over time: the states it carries, and the sites of the layers inside it."""

    eqn: JaxprEqn
    """The first of its pieces, and the outermost."""
    states: tuple[Chain, ...]
    sites: tuple[Site, ...]


def sites_of(state: Chain) -> Iterator[Site]:
    """Where the state is measured: as it enters a step of an innermost loop."""
    for stretch in state:
        yield from sites_of(stretch.inner) if stretch.inner else [stretch.site]


def loops_of(body: Body, plan: Plan) -> tuple[Loop, ...]:
    """In the order in which they run, the outer ones first."""
    order = {site.id: place for place, site in enumerate(plan.sites()) if site.op == "state"}
    if not order:
        return ()
    finder = _Finder()
    finder.run(body, plan, [None] * len(body.jaxpr.invars))
    chains = sorted(finder.chains, key=lambda chain: order[chain[0].site.id])
    by_loop: dict[int, list[Chain]] = {}
    for chain in chains:
        by_loop.setdefault(id(chain[0].plan), []).append(chain)
    return tuple(Loop(group[0][0].eqn, tuple(group), _sites(group)) for group in by_loop.values())


def step_of(loops: Sequence[Loop], site: Site, place: Sequence[int], told: Set[int]) -> int | None:
    """The step of the innermost loop over time around a site, given its place along each of its axes.

    `place` counts as the loops run; `told` are the axes of loops over layers. Where the loop is a piece of
    the one around it, its steps count on.
    """
    axes = [axis for axis, about in enumerate(site.lead) if not about.devices and axis not in told]
    if not axes:
        return None
    pieces = {pair for loop in loops for chain in loop.states for pair in _pieces(chain)}
    step, length = int(place[axes[-1]]), site.lead[axes[-1]].length
    for outer, axis in zip(reversed(axes[:-1]), reversed(axes[1:]), strict=True):
        if (site.lead[outer].loop, site.lead[axis].loop) not in pieces:
            break
        step += int(place[outer]) * length
        length *= site.lead[outer].length
    return step


def _pieces(chain: Chain) -> Iterator[tuple[int, int]]:
    """A loop, and the only one inside it through which its state goes."""
    for stretch in chain:
        if len(stretch.inner) == 1:
            yield stretch.plan.lead[-1].loop, stretch.inner[0].plan.lead[-1].loop
        yield from _pieces(stretch.inner)


def _sites(chains: Sequence[Chain]) -> tuple[Site, ...]:
    plans = {id(stretch.plan): stretch.plan for chain in chains for stretch in chain}
    return tuple(site for plan in plans.values() for site in plan.sites() if site.op != "state")


def _leaves(stretch: Stretch) -> int:
    found = 0
    for site in stretch.plan.sites():
        found |= site.leaves
    return found


class _Mark(NamedTuple):
    """A value that is a state: where it comes from, and through which loops it has gone."""

    carried: int | None
    """Its place among what the loop around carries; `None` where it is not what that handed in."""
    chain: Chain = ()


class _Finder:
    """Follows the states of a program from loop to loop."""

    def __init__(self) -> None:
        self.chains: list[Chain] = []

    def run(self, body: Body, plan: Plan, marks: Sequence[_Mark | None]) -> list[_Mark | None]:
        def equation(index: int, eqn: JaxprEqn, values: list[_Mark | None]) -> list[_Mark | None]:
            carried, nothing = inside(eqn), [None] * len(eqn.outvars)
            if eqn.primitive.name in _THE_SAME and len(values) == len(nothing):
                return values
            if carried is None:
                return [*nothing]
            if isinstance(carried.loop, Counted):
                return self._loop(eqn, carried, values, plan.inner.get((index, 0)))
            for entry in carried.entries:
                below = plan.inner.get((index, entry.number))
                if below is not None:
                    given = [values[operand] if carried.calls else None for operand in entry.operands]
                    outs = self.run(entry.body, below, given)
                    if carried.calls:
                        return outs
            return [*nothing]

        return straight(body, marks, [None] * len(body.consts), _no_state, equation)

    def _loop(
        self, eqn: JaxprEqn, carried: Inside, values: list[_Mark | None], step: Plan | None
    ) -> list[_Mark | None]:
        (entry,) = carried.entries
        found: list[_Mark | None] = [None] * len(eqn.outvars)
        if step is None:
            return found
        first = entry.carried.start
        given = [_Mark(i - first) if i in entry.carried else None for i in range(len(entry.operands))]
        outs = self.run(entry.body, step, given)
        gated = gated_states(eqn) if step.entry else frozenset()
        added = added_states(eqn) if step.entry else frozenset()
        for place, site in step.entry.items():
            out = outs[place]
            inner = out.chain if out is not None and out.carried == place else ()
            self._take(inner)
            gate = any(stretch.gated for stretch in inner) if inner else place in gated
            adds = all(stretch.added for stretch in inner) if inner else place in added
            stretch = Stretch(eqn, step, site, gate, adds, inner)
            found[place] = self._after(values[entry.operands[first + place]], stretch)
        return found

    def _after(self, before: _Mark | None, stretch: Stretch) -> _Mark:
        mark = _Mark(None, (stretch,))
        if before is not None and not before.chain:
            mark = _Mark(before.carried, (stretch,))
        elif (
            before is not None and _leaves(before.chain[-1]) == _leaves(stretch) and self._take(before.chain)
        ):
            mark = _Mark(before.carried, (*before.chain, stretch))
        self.chains.append(mark.chain)
        return mark

    def _take(self, chain: Chain) -> bool:
        """Whether it was there: a state that goes into two loops goes on in the first of them."""
        if chain not in self.chains:
            return False
        self.chains.remove(chain)
        return True


def _no_state(atom: Any) -> None:
    del atom
