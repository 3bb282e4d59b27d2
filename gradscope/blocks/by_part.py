"""Puts the equations of a program that do not need each other into an order in which equal ones are
neighbours.

The update of an optimizer is written operation by operation over all leaves. What belongs to one leaf
depends on the others through single numbers at most: a count, a norm. Leaf by leaf it repeats, and is cut
into blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.extend.core import JaxprEqn, Var

from gradscope.blocks.forward import compile_forward
from gradscope.trace import jaxprs
from gradscope.trace.compiling import compile_program
from gradscope.trace.jaxprs import Body
from gradscope.trace.nested.registry import called_in_place


def compile_by_part(
    function: Callable[..., Any], arguments: tuple[Any, ...], *, runs: int
) -> Callable[..., Any]:
    """`function` compiled for pytrees of arrays: where it is long and repeats from part to part, in blocks.
    What it returns may still be computed. Raises what `function` raises."""
    structure: list[Any] = []
    leaves, given = jax.tree.flatten(arguments)

    def flat(*leaves: Any) -> list[Any]:
        found, made = jax.tree.flatten(function(*jax.tree.unflatten(given, leaves)))
        structure[:] = [made]
        return found

    body = jaxprs.body_of(jax.make_jaxpr(flat)(*leaves))
    if body.jaxpr.effects or any(eqn.effects for eqn in body.eqns):
        # What it does beside its results keeps its order, and a reference is no value that a block hands on.
        return compile_program(function, arguments, runs=runs).start
    run = compile_forward(by_part(body), leaves, runs, outputs=None)
    return lambda *arguments: jax.tree.unflatten(structure[0], run(jax.tree.leaves(arguments)))


def by_part(body: Body) -> Body:
    """The same equations, those of called functions too, sorted by the part that they belong to: arrays of
    more than one element hold a part together, single numbers do not. Nothing in it has an effect."""
    # A function over all leaves, as optax compiles some of its own, would hold all parts together.
    body = jaxprs.written_out(body, called_in_place).body
    eqns = list(body.eqns)
    parts = _parts(eqns)
    made = {var: index for index, eqn in enumerate(eqns) for var in eqn.outvars}
    stage: list[int] = []
    for index, eqn in enumerate(eqns):
        before = [made[atom] for atom in eqn.invars if isinstance(atom, Var) and atom in made]
        stage.append(max((stage[other] + (parts[other] != parts[index]) for other in before), default=0))
    order = sorted(range(len(eqns)), key=lambda index: (stage[index], parts[index], index))
    return Body(body.jaxpr.replace(eqns=[eqns[index] for index in order]), body.consts)


def _parts(eqns: Sequence[JaxprEqn]) -> list[int]:
    """Of each equation, the first one that it is held together with; all on single numbers are one part."""
    part = list(range(len(eqns)))

    def root(index: int) -> int:
        while part[index] != index:
            part[index] = part[part[index]]
            index = part[index]
        return index

    seen: dict[Any, int] = {}
    single = -1
    for index, eqn in enumerate(eqns):
        arrays = [atom for atom in (*eqn.invars, *eqn.outvars) if isinstance(atom, Var) and _size(atom) > 1]
        if not arrays:
            single = index if single < 0 else single
            part[index] = root(single)
        for atom in arrays:
            one, other = sorted((root(index), root(seen.setdefault(atom, index))))
            part[other] = one
    return [root(index) for index in range(len(eqns))]


def _size(var: Any) -> int:
    return math.prod(getattr(var.aval, "shape", ()))
