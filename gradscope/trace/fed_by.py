"""Which layers put out what an equation takes, with nothing in between that has parameters."""

from __future__ import annotations

from jax.extend.core import JaxprEqn, Var

from gradscope.trace.forward import entries
from gradscope.trace.jaxprs import Body
from gradscope.trace.program import Program
from gradscope.trace.sites import Plan
from gradscope.trace.walk import Path


def fed_by(program: Program, path: Path) -> tuple[str, ...]:
    """Names of layers, in the order of the program; empty where they stand outside of the function, or the
    step of a loop, that the equation is in."""
    body, plan = program.body, program.plan
    for index, number in zip(path[:-1:2], path[1::2], strict=False):
        inner = plan.inner.get((index, number))
        found = {entry.number: entry.body for entry in entries(body.eqns[index])}
        if inner is None or number not in found:
            return ()
        body, plan = found[number], inner
    names = program.layer_names
    places = sorted(_sites(body, plan, body.eqns[path[-1]]))
    return tuple(
        dict.fromkeys(names[plan.taps[place].id] for place in places if plan.taps[place].id in names)
    )


def _sites(body: Body, plan: Plan, eqn: JaxprEqn) -> set[int]:
    """Places of the equations that are sites, nearest upstream."""
    made = {var: place for place, each in enumerate(body.eqns) for var in each.outvars}
    waiting = [atom for atom in eqn.invars if isinstance(atom, Var)]
    found: set[int] = set()
    seen: set[int] = set()
    while waiting:
        place = made.get(waiting.pop())
        if place is None or place in seen:
            continue
        seen.add(place)
        if place in plan.taps:
            found.add(place)
        elif not any((place, number) in plan.inner for number in range(2)):
            waiting += [atom for atom in body.eqns[place].invars if isinstance(atom, Var)]
    return found
