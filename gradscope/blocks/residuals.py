"""Where a program that runs later finds the values that it needs of one that ran before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jax.extend.core import Var


@dataclass(frozen=True)
class Residual:
    """Where a later program finds a value that it needs."""

    kind: str
    """`argument` or `result` of the earlier one: nothing is kept twice."""
    place: int


def found_again(jaxpr: Any, given: int, needed: Sequence[Var]) -> tuple[list[int], dict[Var, Residual]]:
    """The places of the outputs that a program has to give, its first `given` ones among them, and where each
    value of `needed`, which are inputs or outputs of it, is then found."""
    outs = jaxpr.outvars
    arguments = {var: place for place, var in enumerate(jaxpr.invars)}
    ends = {var: place for place, var in enumerate(outs) if isinstance(var, Var)}
    kept, places, found = list(range(given)), dict[Any, int](), dict[Var, Residual]()
    for place, var in enumerate(outs[:given]):
        if isinstance(var, Var):
            places.setdefault(var, place)
    for var in needed:
        if var in found:
            continue
        if var in arguments:
            found[var] = Residual("argument", arguments[var])
            continue
        if var not in places:
            places[var] = len(kept)
            kept.append(ends[var])
        found[var] = Residual("result", places[var])
    return kept, found


def values_of(residuals: Sequence[Residual], arguments: Sequence[Any], results: Sequence[Any]) -> list[Any]:
    """What each is, by what the earlier program was given and what it gave."""
    source = {"argument": arguments, "result": results}
    return [source[residual.kind][residual.place] for residual in residuals]


def depending(jaxpr: Any, first: int) -> tuple[bool, ...]:
    """Which outputs depend on an input from number `first` on."""
    depends = set(jaxpr.invars[first:])
    for eqn in jaxpr.eqns:
        if not depends.isdisjoint(atom for atom in eqn.invars if isinstance(atom, Var)):
            depends.update(eqn.outvars)
    return tuple(isinstance(var, Var) and var in depends for var in jaxpr.outvars)
