"""Cuts a program into blocks; two blocks of equal key do the same to values of the same types."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import jax
from jax.extend.core import JaxprEqn, Var

from gradscope.blocks.repeats import USUAL, Sizes, cut
from gradscope.trace import jaxprs
from gradscope.trace.jaxprs import Body
from gradscope.trace.jaxprs.identity import Identity
from gradscope.trace.sites import Plan, Probe, Site
from gradscope.trace.vocabulary import CALLBACKS, PLACED


@dataclass(frozen=True, eq=False)
class Block:
    """A run of neighbouring equations with the taps among them, as a program from `reads` to `writes`."""

    body: Body
    plan: Plan
    reads: tuple[Var, ...]
    writes: tuple[Var, ...]
    """What a later block reads, and the outputs."""
    key: Hashable
    sites: tuple[Site, ...]
    probes: tuple[Probe, ...]

    @property
    def names(self) -> tuple[int, ...]:
        """The ids of its sites, then of its probes."""
        return (*(site.id for site in self.sites), *(probe.id for probe in self.probes))


@dataclass(frozen=True)
class _Line:
    """The equations that are needed, in order, and the plan with its indices among them."""

    eqns: tuple[JaxprEqn, ...]
    plan: Plan


def blocks_of(
    body: Body,
    plan: Plan,
    sizes: Sizes = USUAL,
    behind: frozenset[Var] = frozenset(),
    outputs: int | None = 1,
) -> list[Block]:
    """The blocks of a program of which the first outputs are wanted (`None`: all), with every tap and probe
    of its plan; one ends at each equation that makes a variable of `behind`."""
    wanted = _outputs(body, outputs)
    line = _needed(body, plan, wanted)
    identity = Identity()
    keys = _keys(line, identity)
    kinds = [
        identity.number((identity.kind(eqn), _taps_key(line.plan, index, index + 1)))
        for index, eqn in enumerate(line.eqns)
    ]
    last = _last_reads(line, wanted)
    ends = {index + 1 for index, eqn in enumerate(line.eqns) if not behind.isdisjoint(eqn.outvars)}
    stretches = [
        part
        for low, high in cut(keys, _crossing(line, last), sizes, kinds)
        for part in pairwise(sorted({low, high} | {end for end in ends if low < end < high}))
    ]
    return [_block(body, line, keys, last, identity, *stretch) for stretch in stretches]


def blocks_by(body: Body, label: Callable[[JaxprEqn], Hashable]) -> list[tuple[Hashable, Block]]:
    """The blocks of a program whose first output is wanted, cut where the label changes, and the labels."""
    wanted, identity = _outputs(body, 1), Identity()
    line, found, low = _needed(body, Plan(), wanted), [], 0
    keys, last = _keys(line, identity), _last_reads(line, wanted)
    for each, run in groupby(line.eqns, label):
        high = low + len(list(run))
        found.append((each, _block(body, line, keys, last, identity, low, high)))
        low = high
    return found


def _outputs(body: Body, count: int | None) -> set[Var]:
    return {each for each in body.jaxpr.outvars[:count] if isinstance(each, Var)}


def _keys(line: _Line, identity: Identity) -> list[int]:
    return [
        identity.number((identity.equation(eqn), _taps_key(line.plan, index, index + 1)))
        for index, eqn in enumerate(line.eqns)
    ]


LEAST_SAVED = 60
"""Equations, those inside others included, that are not compiled again where a program is cut."""

LONG = 600
"""Equations from which on a program is cut even where nothing in it repeats."""


def blocks_where_it_pays(
    body: Body,
    plan: Plan,
    arguments: Any,
    behind: frozenset[Var] = frozenset(),
    outputs: int | None = 1,
) -> list[Block]:
    """The blocks of a program that takes these arguments; none where it had better run as one.

    Blocks are compiled for values that lie whole on the default device; effects would have to keep their
    order from block to block, and a callback may give another value each time.
    """
    if not may_be_cut(body, arguments):
        return []
    blocks = blocks_of(body, plan, behind=behind, outputs=outputs)
    return blocks if pays(blocks) else []


def may_be_cut(body: Body, arguments: Any) -> bool:
    """Its values lie on the default device, and nothing in it has to keep an order."""
    placed = jaxprs.has_primitive(body, CALLBACKS | PLACED)
    return not body.jaxpr.effects and not placed and _on_one_device(arguments)


def _on_one_device(arguments: Any) -> bool:
    arrays = [leaf for leaf in jax.tree.leaves(arguments) if isinstance(leaf, jax.Array)]
    devices = {device for array in arrays for device in array.devices()}
    return jax.process_count() == 1 and devices <= {jax.devices()[0]}


def pays(blocks: Sequence[Block]) -> bool:
    """Whether compiling the distinct blocks costs less than compiling the whole."""
    weights = [_weight(block.body) for block in blocks]
    distinct = sum({block.key: weight for block, weight in zip(blocks, weights, strict=True)}.values())
    return sum(weights) - distinct >= LEAST_SAVED or sum(weights) >= LONG


def _weight(body: Body) -> int:
    """Equations, those inside others included."""
    return sum(1 + sum(map(_weight, jaxprs.inner_bodies(eqn))) for eqn in body.eqns)


def _needed(body: Body, plan: Plan, outputs: Collection[Var]) -> _Line:
    """Without the equations of which neither an output nor a tap nor a probe knows anything."""
    wanted = {*outputs}
    busy = {index for index, _ in plan.inner} | {*plan.taps}
    kept: list[int] = []
    for index in reversed(range(len(body.eqns))):
        eqn = body.eqns[index]
        if index in busy or not wanted.isdisjoint(eqn.outvars):
            kept.append(index)
            wanted |= {atom for atom in eqn.invars if isinstance(atom, Var)}
        if index in plan.probes:
            wanted |= {atom for atom in plan.probes[index].operands if isinstance(atom, Var)}
            if kept[-1:] != [index]:
                kept.append(index)
                wanted |= {atom for atom in eqn.invars if isinstance(atom, Var)}
    kept.reverse()
    return _Line(tuple(body.eqns[index] for index in kept), _picked(plan, kept))


def _picked(plan: Plan, kept: Sequence[int]) -> Plan:
    """The plan of the equations at `kept`, which are then numbered from 0."""
    places = {index: place for place, index in enumerate(kept)}
    return Plan(
        lead=plan.lead,
        taps={places[index]: site for index, site in plan.taps.items() if index in places},
        probes={places[index]: probe for index, probe in plan.probes.items() if index in places},
        inner={
            (places[index], number): inner for (index, number), inner in plan.inner.items() if index in places
        },
    )


def _reads(line: _Line, index: int) -> Iterator[Var]:
    yield from (atom for atom in line.eqns[index].invars if isinstance(atom, Var))
    if index in line.plan.probes:
        yield from (atom for atom in line.plan.probes[index].operands if isinstance(atom, Var))


def _last_reads(line: _Line, outputs: Collection[Var]) -> dict[Any, int]:
    """The last equation that reads each variable; outputs are read after all of them."""
    last = {var: index for index in range(len(line.eqns)) for var in _reads(line, index)}
    return last | dict.fromkeys(outputs, len(line.eqns))


def _crossing(line: _Line, last: dict[Any, int]) -> list[int]:
    """Bytes that live on across each cut; inputs of the program do not count, for they live anyway."""
    change = [0] * (len(line.eqns) + 2)
    for index, eqn in enumerate(line.eqns):
        for var in eqn.outvars:
            if var in last:
                aval: Any = var.aval
                size = aval.size * getattr(aval.dtype, "itemsize", 4)
                change[index + 1] += size
                change[last[var] + 1] -= size
    found, total = [], 0
    for step in change[: len(line.eqns) + 1]:
        total += step
        found.append(total)
    return found


def _block(
    body: Body,
    line: _Line,
    keys: Sequence[int],
    last: dict[Any, int],
    identity: Identity,
    low: int,
    high: int,
) -> Block:
    eqns = line.eqns[low:high]
    made = {var: None for eqn in eqns for var in eqn.outvars}
    reads = [
        var for var in dict.fromkeys(v for i in range(low, high) for v in _reads(line, i)) if var not in made
    ]
    writes = [var for var in made if last.get(var, -1) >= high]
    plan = _picked(line.plan, range(low, high))
    places = _places(eqns, reads, identity)
    key = (
        tuple(keys[low:high]),
        tuple(identity.atom(var) for var in reads),
        tuple(tuple(places(atom) for atom in (*eqn.invars, *eqn.outvars)) for eqn in eqns),
        tuple(places(var) for var in writes),
        tuple(places(atom) for probe in plan.probes.values() for atom in probe.operands),
    )
    return Block(
        jaxprs.part(body, eqns, reads, writes),
        plan,
        tuple(reads),
        tuple(writes),
        identity.number(key),
        tuple(plan.sites()),
        tuple(plan.all_probes()),
    )


def _places(eqns: Sequence[JaxprEqn], reads: Sequence[Var], identity: Identity) -> Any:
    """Numbers variables by first use; a literal is known by its value."""
    names: dict[Any, int] = {var: place for place, var in enumerate(reads)}

    def place(atom: Any) -> Hashable:
        return identity.atom(atom) if jaxprs.is_literal(atom) else names.setdefault(atom, len(names))

    return place


def _taps_key(plan: Plan, low: int, high: int) -> Hashable:
    """What is tapped and probed in equations `[low, high)`, by place."""
    span = range(low, high)
    return (
        tuple((index - low, _site_key(plan.taps[index])) for index in span if index in plan.taps),
        tuple((index - low, _probe_key(plan.probes[index])) for index in span if index in plan.probes),
        tuple(
            (index - low, number, _plan_key(inner))
            for (index, number), inner in sorted(plan.inner.items(), key=lambda item: item[0])
            if index in span
        ),
    )


def _plan_key(plan: Plan) -> Hashable:
    if not all(probe.places for probe in plan.all_probes()):
        return id(plan)  # the operands of a probe are variables of a nested jaxpr, which have no place here
    entry = tuple((index, _site_key(site)) for index, site in sorted(plan.entry.items()))
    probed = tuple((index, probe.places) for index, probe in sorted(plan.probes.items()))
    indices: Collection[int] = {*plan.taps, *plan.probes, *(index for index, _ in plan.inner)}
    return entry, probed, _lead_key(plan.lead), _taps_key(plan, 0, max(indices, default=-1) + 1)


def _site_key(site: Site) -> Hashable:
    return site.position, site.members, site.units, site.shape, str(site.dtype), _lead_key(site.lead)


def _lead_key(lead: Sequence[Any]) -> Hashable:
    return tuple((axis.length, axis.reverse, axis.devices) for axis in lead)


def _probe_key(probe: Probe) -> Hashable:
    return probe.measure, probe.limit, probe.look, _lead_key(probe.lead)
