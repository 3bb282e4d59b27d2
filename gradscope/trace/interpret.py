"""Runs a jaxpr with taps at the sites of its plan.

An equation that carries sites is rebuilt by the rule of its primitive from public JAX functions; runs
of other equations are evaluated by JAX itself, as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import jax.numpy as jnp
from jax import Array
from jax.extend.core import JaxprEqn, Var

from gradscope.trace import jaxprs
from gradscope.trace.jaxprs import Body, MeshAxes
from gradscope.trace.probe import distance, probe_dtype
from gradscope.trace.sites import Plan, Probe, Site
from gradscope.trace.tap import Sink, forward_stats, tap

Slots = dict[int, tuple[Sink, Array]]
"""By site: its sink, a pair of f[lead..., members...], and the gains for the value and for δ, with one more
axis of 2; each has one leading axis for each loop still to be entered."""

Found = tuple[Array, Array, Array]
"""Of a value at a site: sum of squares, largest absolute value, number of elements. Of a probe: distance of
the nearest element to the dangerous point, the largest that is no outlier, number of elements on it or
beyond. Each has the axes of the sink."""


class RunRule(Protocol):
    """How a primitive that carries a jaxpr runs with taps inside; one file each in `nested/`."""

    def __call__(
        self, taps: Taps, eqn: JaxprEqn, args: list[Any], plan: Plan, index: int, /
    ) -> list[Any]: ...


RUN_RULES: dict[str, RunRule] = {}


class Taps:
    """The slots of one level of nesting, and the forward statistics gathered on it."""

    def __init__(self, slots: Slots, axes: MeshAxes = ()) -> None:
        self.slots = slots
        self.forward: dict[int, Found] = {}
        self._axes = axes

    def below(self, slots: Slots, axes: MeshAxes = ()) -> Taps:
        """The taps of one step, branch or device of a carried jaxpr."""
        return Taps(slots, self._axes + axes)

    def slots_of(self, plan: Plan) -> Slots:
        return {site.id: self.slots[site.id] for site in plan.sites()}

    def nothing(self, slot: tuple[Sink, Array]) -> Found:
        """Statistics of a site that was not reached."""
        zero = self._typed(jnp.zeros(slot[0][0].shape, slot[0][0].dtype))
        return zero, zero, zero

    def tap(self, site: Site, value: Array) -> Array:
        sink, gains = self.slots[site.id]
        squares, top, count = forward_stats(value, gains[..., 0], self._axes, site.members)
        self.forward[site.id] = self._typed(squares), self._typed(top), self._typed(count)
        return tap(value, sink, gains[..., 1], self._axes, site.members)

    def probe(self, probe: Probe, values: Sequence[Array]) -> None:
        found = distance(probe, values)
        self.forward[probe.id] = self._typed(found[0]), self._typed(found[1]), self._typed(found[2])

    def unprobed(self, probe: Probe, level: int) -> Found:
        """What a probe below the first `level` loops says where it was not reached."""
        zero = self._typed(jnp.zeros([axis.length for axis in probe.lead[level:]], probe_dtype(probe)))
        return zero + jnp.inf, zero, zero

    def _typed(self, value: Array) -> Array:
        return jaxprs.make_varying(value, self._axes) if self._axes else value


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
            _run_plain(body, waiting, env)
            waiting = []
            taps.probe(plan.probes[index], [read(var) for var in plan.probes[index].operands])
        if index in busy:
            _run_plain(body, waiting, env)
            waiting = []
            rule = RUN_RULES[eqn.primitive.name]
            outs = rule(taps, eqn, [read(atom) for atom in eqn.invars], plan, index)
            env.update(zip(eqn.outvars, outs, strict=True))
        else:
            waiting.append(eqn)
        if index in plan.taps:
            _run_plain(body, waiting, env)
            waiting = []
            var = eqn.outvars[plan.taps[index].position]
            env[var] = taps.tap(plan.taps[index], env[var])
    _run_plain(body, waiting, env)
    return [read(atom) for atom in body.jaxpr.outvars]


def _run_plain(body: Body, eqns: list[JaxprEqn], env: dict[Any, Any]) -> None:
    if not eqns:
        return
    made: dict[Var, None] = {var: None for eqn in eqns for var in eqn.outvars}
    read = {atom: None for eqn in eqns for atom in eqn.invars if isinstance(atom, Var)}
    reads = [var for var in read if var not in made]
    writes = list(made)
    run = jaxprs.as_function(body, eqns, reads, writes)
    env.update(zip(writes, run(*[env[var] for var in reads]), strict=True))
