"""Runs a jaxpr with taps at the sites of its plan.

An equation that carries sites is rebuilt from public JAX functions, as its file in `nested/`
says; runs of other equations are evaluated by JAX itself, as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import JaxprEqn, Var

from gradscope.trace import jaxprs
from gradscope.trace.jaxprs import Body, MeshAxes
from gradscope.trace.nested.contract import Entry
from gradscope.trace.nested.registry import inside, rebuild
from gradscope.trace.probe import Measured, measured, nothing
from gradscope.trace.sites import Plan, Probe, Site
from gradscope.trace.statistics import FLOW, Selection, Stats, entry_shape
from gradscope.trace.tap import How, forward_stats, tap


class Slot(NamedTuple):
    """What a site is given; each array has one leading axis for each loop still to be entered."""

    sink: Stats
    gains: Array
    """f[lead..., members..., 2]: for the value and for δ."""


Slots = dict[int, Slot]
"""By site."""

Found = Stats | Measured
"""What is found of a value at a site, or of a probe. A pytree of arrays with the leading axes of the slot."""


class Taps:
    """The slots of one level of nesting, and the forward statistics gathered on it."""

    def __init__(self, slots: Slots, selection: Selection = FLOW, mesh: MeshAxes = ()) -> None:
        """`selection` are the statistics that are taken; the sinks have a zero for each of those of δ."""
        self.slots = slots
        self.forward: dict[int, Found] = {}
        self._selection = selection
        self._mesh = mesh

    def below(self, slots: Slots, mesh: MeshAxes = ()) -> Taps:
        """The taps of one step, branch or device of a carried jaxpr."""
        return Taps(slots, self._selection, self._mesh + mesh)

    def tap(self, site: Site, value: Array) -> Array:
        sink, gains = self.slots[site.id]
        of_value, of_delta = (How(taken, site.members, self._mesh, site.units) for taken in self._selection)
        self.forward[site.id] = self._typed(forward_stats(value, gains[..., 0], of_value))
        return tap(value, sink, gains[..., 1], of_delta)

    def probe(self, probe: Probe, values: Sequence[Array]) -> None:
        self.forward[probe.id] = self._typed(measured(probe, values))

    def unreached(self, plans: Iterable[Plan], level: int) -> dict[int, Found]:
        """What the sites and probes of these plans say, `level` loops down, that this run did not reach."""
        missed: dict[int, Found] = {}
        for plan in plans:
            for site in plan.sites():
                if site.id not in self.forward:
                    missed[site.id] = self._typed(self._nothing(site))
            for probe in plan.all_probes():
                if probe.id not in self.forward:
                    missed[probe.id] = self._typed(nothing(probe, level))
        return missed

    def _nothing(self, site: Site) -> Stats:
        gains = self.slots[site.id].gains
        lead = gains.shape[: gains.ndim - 1 - len(site.members)]
        return {
            each.name: jnp.full(
                (*lead, *entry_shape(each, site.value, site.members, site.units)), each.zero, gains.dtype
            )
            for each in self._selection.value
        }

    def _typed(self, found: Any) -> Any:
        if not self._mesh:
            return found
        return jax.tree.map(lambda value: jaxprs.make_varying(value, self._mesh), found)


def evaluate(body: Body, args: Sequence[Any], plan: Plan, taps: Taps) -> list[Any]:
    """The outputs of `body` at `args`; statistics of its sites go to `taps.forward` and the sinks."""
    env: dict[Any, Any] = dict(zip(body.jaxpr.constvars, body.consts, strict=True))
    env.update(zip(body.jaxpr.invars, args, strict=True))

    def read(atom: Any) -> Any:
        return atom.val if jaxprs.is_literal(atom) else env[atom]

    busy = {index for (index, _), inner in plan.inner.items() if not inner.empty}
    waiting: list[JaxprEqn] = []
    for index, eqn in enumerate(body.eqns):
        if index in plan.probes:
            run_plain(body, waiting, env)
            waiting = []
            taps.probe(plan.probes[index], [read(var) for var in plan.probes[index].operands])
        if index in busy:
            run_plain(body, waiting, env)
            waiting = []
            outs = _enter(taps, eqn, [read(atom) for atom in eqn.invars], plan, index)
            env.update(zip(eqn.outvars, outs, strict=True))
        else:
            waiting.append(eqn)
        if index in plan.taps:
            run_plain(body, waiting, env)
            waiting = []
            var = eqn.outvars[plan.taps[index].position]
            env[var] = taps.tap(plan.taps[index], env[var])
    run_plain(body, waiting, env)
    return [read(atom) for atom in body.jaxpr.outvars]


def _enter(taps: Taps, eqn: JaxprEqn, values: list[Any], plan: Plan, index: int) -> list[Any]:
    """The results of an equation that carries sites or probes; its slots go in as rows."""
    carried = inside(eqn)
    assert carried is not None
    plans = [plan.inner[index, entry.number] for entry in carried.entries]
    mesh = () if carried.shards is None else carried.shards.typed

    def run(entry: Entry, values: list[Any], state: Any, slots: Slots) -> tuple[list[Any], Any, Any]:
        inner, below, first = plan.inner[index, entry.number], taps.below(slots, mesh), entry.carried.start
        states = {first + place: site for place, site in inner.entry.items()}
        inputs = [below.tap(states[i], value) if i in states else value for i, value in enumerate(values)]
        outs = evaluate(entry.body, inputs, inner, below)
        return outs, state, {**below.forward, **below.unreached(plans, len(plan.lead))}

    slots = {site.id: taps.slots[site.id] for inner in plans for site in inner.sites()}
    outs, _, found = rebuild(eqn, values, run, (), slots)
    taps.forward.update(found)
    return outs


def run_plain(body: Body, eqns: list[JaxprEqn], env: dict[Any, Any]) -> None:
    """Evaluates neighbouring equations as they are; their results go into `env`."""
    if not eqns:
        return
    made: dict[Var, None] = {var: None for eqn in eqns for var in eqn.outvars}
    read = {atom: None for eqn in eqns for atom in eqn.invars if isinstance(atom, Var)}
    reads = [var for var in read if var not in made]
    writes = list(made)
    run = jaxprs.as_function(body, eqns, reads, writes)
    env.update(zip(writes, run(*[env[var] for var in reads]), strict=True))
