"""The loss with its repeated blocks inside `jax.checkpoint`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
from jax.extend.core import JaxprEqn, Var

from gradscope.blocks.repeats import largest
from gradscope.footprint.peak import size_of
from gradscope.trace import jaxprs
from gradscope.trace.jaxprs import Body
from gradscope.trace.jaxprs.identity import Identity
from gradscope.trace.nested.contract import Counted
from gradscope.trace.nested.registry import inside, rebuild

Policy = Callable[..., Any] | None
LEAST = 4
"""Equations of a block that is worth a checkpoint."""


@dataclass(frozen=True, eq=False)
class Repeat:
    """Blocks that do the same one after the other, or a loop whose step is the block."""

    home: Body
    """The program among whose equations they stand."""
    blocks: tuple[Body, ...]
    """Empty for a loop."""
    loop: JaxprEqn | None
    calls: tuple[JaxprEqn, ...]
    """The equations around, innermost first."""

    @property
    def count(self) -> int:
        if self.loop is None:
            return len(self.blocks)
        carried = inside(self.loop)
        assert carried is not None
        assert isinstance(carried.loop, Counted)
        return carried.loop.length

    @property
    def equations(self) -> Sequence[JaxprEqn]:
        """Of one block."""
        return self.blocks[0].eqns if self.loop is None else next(jaxprs.inner_bodies(self.loop)).eqns


def repeats(body: Body, calls: tuple[JaxprEqn, ...] = ()) -> Iterator[Repeat]:
    """Every loop, and the largest repeat among the equations of each function that is merely called."""
    outs = body.jaxpr.outvars if calls else body.jaxpr.outvars[:1]
    eqns = needed(body, outs)
    blocks = _repeated(body, eqns, outs)
    if blocks:
        yield Repeat(body, blocks, None, calls)
    for eqn in eqns:
        carried = inside(eqn)
        if carried is None or carried.own_rule or eqn.primitive.name == "remat2":
            continue
        if carried.calls:
            yield from repeats(carried.entries[0].body, (eqn, *calls))
        elif isinstance(carried.loop, Counted) and len(carried.entries[0].body.eqns) >= LEAST:
            yield Repeat(body, (), eqn, calls)


def needed(body: Body, outs: Sequence[Any]) -> list[JaxprEqn]:
    """The equations that some of the outputs depend on, in order."""
    wanted, kept = {atom for atom in outs if isinstance(atom, Var)}, []
    for eqn in reversed(body.eqns):
        if not wanted.isdisjoint(eqn.outvars):
            kept.append(eqn)
            wanted |= {atom for atom in eqn.invars if isinstance(atom, Var)}
    return kept[::-1]


def _repeated(body: Body, eqns: Sequence[JaxprEqn], outs: Sequence[Any]) -> tuple[Body, ...]:
    identity = Identity()
    last = {atom: place for place, eqn in enumerate(eqns) for atom in eqn.invars if isinstance(atom, Var)}
    last.update({atom: len(eqns) for atom in outs if isinstance(atom, Var)})
    found = largest([identity.kind(eqn) for eqn in eqns], _crossing(eqns, last))
    if found is None or found.period < LEAST:
        return ()
    starts = (found.start + turn * found.period for turn in range(found.count))
    return tuple(_block(body, eqns, last, low, low + found.period) for low in starts)


def _crossing(eqns: Sequence[JaxprEqn], last: dict[Any, int]) -> list[int]:
    """Bytes that live on from before each equation."""
    change = [0] * (len(eqns) + 2)
    for place, eqn in enumerate(eqns):
        for var in eqn.outvars:
            if var in last:
                change[place + 1] += size_of(var.aval)
                change[last[var] + 1] -= size_of(var.aval)
    return list(itertools.accumulate(change))[: len(eqns) + 1]


def _block(body: Body, eqns: Sequence[JaxprEqn], last: dict[Any, int], low: int, high: int) -> Body:
    inside_it = eqns[low:high]
    made = dict.fromkeys(var for eqn in inside_it for var in eqn.outvars)
    read = dict.fromkeys(atom for eqn in inside_it for atom in eqn.invars if isinstance(atom, Var))
    reads = [var for var in read if var not in made]
    return jaxprs.part(body, inside_it, reads, [var for var in made if last.get(var, -1) >= high])


def wrapped(body: Body, repeat: Repeat, policy: Policy) -> Callable[..., list[Any]]:
    """Traceable: the first output of the program, with the blocks of `repeat` under `jax.checkpoint`."""
    return lambda *inputs: _run(body, inputs, body.jaxpr.outvars[:1], repeat, policy)


def _run(body: Body, inputs: Sequence[Any], outs: Sequence[Any], repeat: Repeat, policy: Policy) -> list[Any]:
    env: dict[Any, Any] = dict(zip(body.jaxpr.constvars, body.consts, strict=True))
    env.update(zip(body.jaxpr.invars, inputs, strict=True))

    def read(atom: Any) -> Any:
        return atom.val if jaxprs.is_literal(atom) else env[atom]

    blocks = repeat.blocks if body.jaxpr is repeat.home.jaxpr else ()
    begins = {id(block.eqns[0]): block for block in blocks}
    done: set[int] = set()
    for eqn in needed(body, outs):
        if id(eqn) in begins:
            block = begins[id(eqn)]
            done |= {id(each) for each in block.eqns}
            run = jax.checkpoint(jaxprs.as_program(block), policy=policy)
            env.update(zip(block.jaxpr.outvars, run(*map(read, block.jaxpr.invars)), strict=True))
        elif id(eqn) not in done:
            values = [read(atom) for atom in eqn.invars]
            env.update(zip(eqn.outvars, _results(eqn, values, repeat, policy), strict=True))
    return [read(atom) for atom in outs]


def _results(eqn: JaxprEqn, values: list[Any], repeat: Repeat, policy: Policy) -> list[Any]:
    if eqn is repeat.loop:
        # The steps of a loop are compiled once: nothing in them can be taken for the recomputation.
        def step(entry: Any, values: list[Any], state: Any, row: Any) -> Any:
            run = jax.checkpoint(jaxprs.as_program(entry.body), policy=policy, prevent_cse=False)
            return run(*values), state, row

        return rebuild(eqn, values, step, (), ())[0]
    if eqn in repeat.calls:
        carried = inside(eqn)
        assert carried is not None
        inner = carried.entries[0].body
        return _run(inner, values, inner.jaxpr.outvars, repeat, policy)
    return jaxprs.run_equation(eqn, values)
