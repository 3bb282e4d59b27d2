"""A program with the functions that it calls written out in place, and without what leads to no result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jax.extend.core import Jaxpr, JaxprEqn, Var
from jax.interpreters import partial_eval

from gradscope.trace.jaxprs.programs import Body

Calls = tuple[JaxprEqn, ...]
Called = Callable[[JaxprEqn], Body | None]
"""The function that an equation merely calls; `None` for any other equation."""


@dataclass(frozen=True)
class WrittenOut:
    body: Body
    origins: dict[int, tuple[JaxprEqn, Calls]]
    """By the `id` of each equation: the one that it was, and the calls around it, innermost first."""


def written_out(body: Body, called: Called) -> WrittenOut:
    """The same equations in the same order, where no function is called."""
    eqns: list[JaxprEqn] = []
    origins: dict[int, tuple[JaxprEqn, Calls]] = {}
    names: dict[Any, Any] = {var: var for var in (*body.jaxpr.constvars, *body.jaxpr.invars)}

    def write(inner: Body, names: dict[Any, Any], calls: Calls) -> None:
        def read(atom: Any) -> Any:
            return names[atom] if isinstance(atom, Var) else atom

        for eqn in inner.eqns:
            function = called(eqn)
            if function is None or function.consts:
                outs = eqn.outvars if not calls else [Var(var.aval) for var in eqn.outvars]
                names.update(zip(eqn.outvars, outs, strict=True))
                new: Any = eqn.replace(invars=[read(atom) for atom in eqn.invars], outvars=list(outs))
                eqns.append(new)
                origins[id(new)] = eqn, calls
                continue
            given = [read(atom) for atom in eqn.invars]
            below = dict(zip(function.jaxpr.invars, given, strict=True))
            write(function, below, (eqn, *calls))
            results = [below[v] if isinstance(v, Var) else v for v in function.jaxpr.outvars]
            names.update(zip(eqn.outvars, results, strict=True))

    write(body, names, ())
    outs = [names[atom] if isinstance(atom, Var) else atom for atom in body.jaxpr.outvars]
    return WrittenOut(Body(body.jaxpr.replace(eqns=eqns, outvars=outs), body.consts), origins)


def live(body: Body, wanted: Sequence[bool]) -> tuple[Body, list[bool]]:
    """The program of some of the outputs, nothing else in it at any depth; and which inputs it reads.

    It takes the constants as its first inputs.
    """
    jaxpr: Any = body.jaxpr
    info = jaxpr.debug_info
    names = tuple(f"c{place}" for place in range(len(jaxpr.constvars)))
    if info is not None and info.arg_names is not None:
        info = info._replace(arg_names=(*names, *info.arg_names))
    opened = Jaxpr([], [*jaxpr.constvars, *jaxpr.invars], jaxpr.outvars, list(body.eqns), jaxpr.effects, info)
    found, used = partial_eval.dce_jaxpr(opened, list(wanted), instantiate=True)
    del used
    read = {atom for eqn in found.eqns for atom in eqn.invars if isinstance(atom, Var)}
    read |= {atom for atom in found.outvars if isinstance(atom, Var)}
    return Body(found, ()), [var in read for var in found.invars[len(jaxpr.constvars) :]]
