"""The steps of a program's loops over time, and the program run with a hand on each of them.

A loop that is written in pieces has several innermost loops (`trace/loops.py`): their steps, in the order in
which they run, are the steps of the one. What is given or found by step has one leading axis for each loop
around it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax.extend.core import JaxprEqn
from numpy.typing import NDArray

from gradscope.trace.interpret import run_plain
from gradscope.trace.jaxprs import Body, is_literal
from gradscope.trace.loops import Chain, Loop, Stretch, norms_of
from gradscope.trace.nested.contract import Entry
from gradscope.trace.nested.registry import inside, rebuild
from gradscope.trace.recurrent_states import memories
from gradscope.trace.sites import Plan, Site
from gradscope.trace.vocabulary import is_real


@dataclass(frozen=True, eq=False)
class Piece:
    """An innermost loop over time."""

    number: int
    plan: Plan
    entry: Entry
    places: tuple[int, ...]
    """Among what it carries: those of the loop's states, in the order of its chains."""
    weights: dict[int, int]
    """By input that each step takes alike and that is made of parameters alone: the bits of these."""
    same: dict[int, int]
    """Of such inputs that are one value, each one to the first."""
    axes: tuple[int, ...]
    """Loops around a step, itself included, that count the steps of the whole; others repeat it."""

    @property
    def lead(self) -> tuple[int, ...]:
        return tuple(axis.length for axis in self.plan.lead)

    @property
    def outer(self) -> tuple[int, ...]:
        """Those of `axes` that are not its own."""
        return self.axes[:-1]

    def aval(self, number: int) -> Any:
        """Shape and dtype of an input of a step."""
        return self.entry.body.jaxpr.invars[number].aval

    def state(self, place: int) -> Any:
        """Shape and dtype of what a step carries."""
        return self.aval(self.entry.carried.start + place)


@dataclass(frozen=True, eq=False)
class Timeline:
    """A loop over time as a whole, step by step."""

    loop: Loop
    chains: tuple[Chain, ...]
    """Its states that go through all steps."""
    pieces: tuple[Piece, ...]
    steps: NDArray[np.intp]
    """i[steps, 2]: the piece, and the place along its axes, in the order in which they run."""
    memories: tuple[tuple[int, ...], ...]
    """Groups of its states that feed each other."""

    def by_step(self, found: Sequence[Any]) -> NDArray[np.float64]:
        """f64[steps], from one array for each piece, [lead...]; what repeats the loop adds up."""
        flat = []
        for piece, each in zip(self.pieces, found, strict=True):
            others = tuple(axis for axis in range(len(piece.lead)) if axis not in piece.axes)
            flat.append(np.asarray(each, np.float64).sum(others).ravel())
        return np.array([flat[piece][place] for piece, place in self.steps])

    def norms_by_step(self, found: Sequence[Any]) -> NDArray[np.float64]:
        """The same for norms, of which the squares add up."""
        largest = max(float(np.max(each, initial=0.0)) for each in found)
        scale = largest if math.isfinite(largest) and largest > 0 else 1.0
        return scale * np.sqrt(self.by_step([(np.asarray(each, np.float64) / scale) ** 2 for each in found]))

    def spread(self, values: NDArray[Any]) -> list[NDArray[Any]]:
        """One array for each piece, [lead...], from [steps]."""
        found = []
        for number, piece in enumerate(self.pieces):
            mine = self.steps[:, 0] == number
            shape = [size if axis in piece.axes else 1 for axis, size in enumerate(piece.lead)]
            flat = np.zeros(int(np.prod(shape)), values.dtype)
            flat[self.steps[mine, 1]] = values[mine]
            found.append(np.broadcast_to(flat.reshape(shape), piece.lead))
        return found

    def index(self, step: int) -> tuple[int, tuple[int, ...]]:
        """The piece of a step, and its place along each loop around it; the first of those that repeat it."""
        number, place = (int(each) for each in self.steps[step])
        piece = self.pieces[number]
        inner = np.unravel_index(place, [piece.lead[axis] for axis in piece.axes])
        along = dict(zip(piece.axes, map(int, inner), strict=True))
        return number, tuple(along.get(axis, 0) for axis in range(len(piece.lead)))


def timelines(body: Body, plan: Plan, loops: Sequence[Loop]) -> tuple[list[Timeline], list[Loop]]:
    """Of each loop over time, and the loops whose steps cannot be run one by one: in a branch, on a mesh."""
    entered = set(_entered(body, plan))
    found: list[Timeline] = []
    left: list[Loop] = []
    count = 0
    for loop in loops:
        stretches = {id(chain): tuple(_innermost(chain)) for chain in loop.states}
        longest = max(stretches.values(), key=_steps)
        if any(id(each.plan) not in entered for each in longest):
            left.append(loop)
            continue
        plans = [each.plan for each in longest]
        chains = tuple(c for c in loop.states if [each.plan for each in stretches[id(c)]] == plans)
        found.append(_timeline(loop, chains, [stretches[id(chain)] for chain in chains], count))
        count += len(plans)
    return found, left


def _innermost(chain: Chain) -> Iterator[Stretch]:
    for stretch in chain:
        yield from _innermost(stretch.inner) if stretch.inner else [stretch]


def _steps(stretches: Sequence[Stretch]) -> int:
    return sum(int(np.prod([axis.length for axis in each.plan.lead])) for each in stretches)


def _entered(body: Body, plan: Plan) -> Iterator[int]:
    """The plans that are reached through calls and counted loops alone."""
    yield id(plan)
    for (index, number), inner in plan.inner.items():
        carried = inside(body.eqns[index])
        if carried is not None and carried.chosen_by is None and carried.shards is None:
            yield from _entered(carried.entries[number].body, inner)


def _timeline(
    loop: Loop, chains: tuple[Chain, ...], stretches: Sequence[Sequence[Stretch]], first: int
) -> Timeline:
    axes: dict[int, tuple[int, ...]] = {}
    sites = {each.site.id: number for number, each in enumerate(stretches[0])}
    size = max(int(np.prod([axis.length for axis in each.plan.lead])) for each in stretches[0])

    def numbered(site: Site, along: Sequence[int]) -> NDArray[np.float64]:
        axes[sites[site.id]] = tuple(along)
        lengths = [site.lead[axis].length for axis in along]
        places = np.arange(int(np.prod(lengths)), dtype=np.float64).reshape(lengths)
        return places + sites[site.id] * size

    order = norms_of(chains[0], numbered).astype(np.intp)
    pieces = tuple(
        _piece(first + number, [chain[number] for chain in stretches], axes[number])
        for number in range(len(stretches[0]))
    )
    start = pieces[0]
    groups = memories(start.entry.body, start.entry.carried, start.places)
    return Timeline(
        loop,
        chains,
        pieces,
        np.stack([order // size, order % size], axis=-1),
        tuple(tuple(start.places.index(place) for place in group) for group in groups),
    )


def _piece(number: int, states: Sequence[Stretch], axes: tuple[int, ...]) -> Piece:
    eqn, plan = states[0].eqn, states[0].plan
    carried = inside(eqn)
    assert carried is not None
    (entry,) = carried.entries
    first: dict[Any, int] = {}
    for i in plan.shared:
        first.setdefault(eqn.invars[entry.operands[i]], i)
    same = {i: first[eqn.invars[entry.operands[i]]] for i in plan.shared}
    floating = {
        i: bits for i, bits in plan.shared.items() if bits and is_real(entry.body.jaxpr.invars[i].aval)
    }
    places = tuple(next(p for p, site in plan.entry.items() if site is each.site) for each in states)
    weights = {i: bits for i, bits in floating.items() if same[i] == i}
    return Piece(number, plan, entry, places, weights, same, axes)


class Hand:
    """What is done at each step; a hand that does nothing. `run` runs a program with it."""

    def __init__(self, found: Sequence[Timeline]) -> None:
        self.timelines = tuple(found)
        self._pieces = {id(piece.plan): piece for each in found for piece in each.pieces}
        self._numbers: dict[int, frozenset[int]] = {}

    def opened(self, plan: Plan, state: Any) -> Any:
        """The state where the loop of this plan begins."""
        del plan
        return state

    def enter(self, piece: Piece, values: list[Any], given: Any) -> list[Any]:
        """The operands of a loop; `given` is what it was given as a whole."""
        del piece, given
        return values

    def step(
        self, piece: Piece, values: list[Any], state: Any, row: Any, given: Any
    ) -> tuple[list[Any], Any, Any]:
        """The inputs of a step, the state after it, and what is found there."""
        del piece, row, given
        return values, state, ()

    def kept(self, piece: Piece, values: list[Any]) -> Any:
        """What is found of the operands of a loop."""
        del piece, values
        return ()

    def run(
        self, body: Body, args: Sequence[Any], plan: Plan, state: Any, rows: dict[int, Any]
    ) -> tuple[list[Any], Any, dict[int, Any]]:
        """The outputs, the last state, and by piece what is found at each step and of the loop.

        `rows` are by piece what each step is given and what the loop is given as a whole.
        """
        env: dict[Any, Any] = dict(zip(body.jaxpr.constvars, body.consts, strict=True))
        env.update(zip(body.jaxpr.invars, args, strict=True))
        found: dict[int, Any] = {}
        waiting: list[JaxprEqn] = []

        def read(atom: Any) -> Any:
            return atom.val if is_literal(atom) else env[atom]

        for index, eqn in enumerate(body.eqns):
            inner = plan.inner.get((index, 0))
            if inner is None or not self._within(inner):
                waiting.append(eqn)
                continue
            run_plain(body, waiting, env)
            waiting = []
            values = [read(atom) for atom in eqn.invars]
            outs, state, seen = self._enter(eqn, values, inner, state, rows)
            found.update(seen)
            env.update(zip(eqn.outvars, outs, strict=True))
        run_plain(body, waiting, env)
        return [read(atom) for atom in body.jaxpr.outvars], state, found

    def _enter(
        self, eqn: JaxprEqn, values: list[Any], inner: Plan, state: Any, rows: dict[int, Any]
    ) -> tuple[list[Any], Any, dict[int, Any]]:
        piece = self._pieces.get(id(inner))
        row, given = ((), ()) if piece is None else rows[piece.number]
        mine = frozenset() if piece is None else {piece.number}
        beside = row, {number: rows[number] for number in self._within(inner) - mine}
        if piece is not None:
            values = self.enter(piece, values, given)

        def run(entry: Entry, values: list[Any], state: Any, beside: Any) -> tuple[list[Any], Any, Any]:
            row, below = beside
            if piece is None:
                return self.run(entry.body, values, inner, state, below)
            values, state, seen = self.step(piece, values, state, row, given)
            outs, state, found = self.run(entry.body, values, inner, state, below)
            return outs, state, {**found, piece.number: seen}

        outs, state, found = rebuild(eqn, values, run, self.opened(inner, state), beside)
        if piece is not None:
            found = {**found, piece.number: (found[piece.number], self.kept(piece, values))}
        return outs, state, found

    def _within(self, plan: Plan) -> frozenset[int]:
        """The pieces in and below a plan."""
        if id(plan) not in self._numbers:
            found = {self._pieces[id(plan)].number} if id(plan) in self._pieces else set()
            for inner in plan.inner.values():
                found |= self._within(inner)
            self._numbers[id(plan)] = frozenset(found)
        return self._numbers[id(plan)]
