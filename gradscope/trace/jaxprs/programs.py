"""Jaxprs and the equations that carry them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun


@dataclass(frozen=True)
class Body:
    """A jaxpr and the constants it closes over, whatever class JAX keeps them in."""

    jaxpr: Any
    consts: Sequence[Any]

    @property
    def eqns(self) -> Sequence[JaxprEqn]:
        return self.jaxpr.eqns  # type: ignore[no-any-return]


def body_of(jaxpr: Any) -> Body:
    """Open a `ClosedJaxpr` (one class with `Jaxpr` from 0.12 on) or a bare `Jaxpr` without constants."""
    if hasattr(jaxpr, "consts"):
        return Body(jaxpr.jaxpr, tuple(jaxpr.consts))
    return Body(jaxpr, ())


def is_literal(atom: Any) -> bool:
    return isinstance(atom, Literal)


def is_zero(atom: Any) -> bool:
    """A literal 0."""
    return isinstance(atom, Literal) and not np.any(atom.val)


@dataclass(frozen=True)
class ScanParams:
    body: Body
    length: int
    reverse: bool
    unroll: int | bool
    consts: int
    carry: int


def scan_params(eqn: JaxprEqn) -> ScanParams:
    p = eqn.params
    if "ft_in" in p:
        consts, carry, _ = (len(part) for part in p["ft_in"].unpack())
    else:  # JAX 0.10
        consts, carry = p["num_consts"], p["num_carry"]
    return ScanParams(body_of(p["jaxpr"]), p["length"], p["reverse"], p["unroll"], consts, carry)


def carry_first(scan: ScanParams) -> Body:
    """One step of a scan whose first inputs are its carry, its constants and slices behind them."""
    given, behind = scan.body.jaxpr.invars, scan.consts + scan.carry
    invars = [*given[scan.consts : behind], *given[: scan.consts], *given[behind:]]
    return Body(scan.body.jaxpr.replace(invars=invars), scan.body.consts)


def called_body(eqn: JaxprEqn) -> Body:
    """The function of an equation that merely calls it: jit, closed_call, remat, custom_*."""
    for key in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        if key in eqn.params:
            return body_of(eqn.params[key])
    raise KeyError(eqn.primitive.name)


def branches(eqn: JaxprEqn) -> tuple[Body, ...]:
    return tuple(body_of(branch) for branch in eqn.params["branches"])


def checkpoint_options(eqn: JaxprEqn) -> dict[str, Any]:
    return {"policy": eqn.params["policy"], "prevent_cse": eqn.params["prevent_cse"]}


def function_name(eqn: JaxprEqn) -> str:
    """The user's name for a called function (`relu`, `gelu`), or an empty string."""
    if "name" in eqn.params:
        return str(eqn.params["name"])
    if "call_jaxpr" in eqn.params:
        info = called_body(eqn).jaxpr.debug_info
        return str(info.func_src_info).split(" ", 1)[0] if info is not None else ""
    return ""


def carries_program(eqn: JaxprEqn) -> bool:
    """The equation carries a jaxpr over arrays; one over scalars only says how to combine two elements."""
    return any(getattr(v.aval, "ndim", 0) for body in inner_bodies(eqn) for v in body.jaxpr.invars)


def inner_bodies(eqn: JaxprEqn) -> Iterator[Body]:
    """Every jaxpr that an equation carries, known or not."""
    for value in eqn.params.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            if isinstance(part, Jaxpr | ClosedJaxpr):
                yield body_of(part)


def all_equations(eqn: JaxprEqn) -> Iterator[JaxprEqn]:
    """The equation, and those that it carries, at any depth."""
    yield eqn
    for body in inner_bodies(eqn):
        for inner in body.eqns:
            yield from all_equations(inner)


def has_primitive(body: Body, names: frozenset[str]) -> bool:
    """One of these primitives stands in the body, at any depth."""
    return any(
        eqn.primitive.name in names or any(has_primitive(inner, names) for inner in inner_bodies(eqn))
        for eqn in body.eqns
    )


def in_backward(eqn: JaxprEqn) -> bool:
    """The equation belongs to a gradient that the user's own code takes."""
    return "transpose(" in str(eqn.source_info.name_stack)


def differentiations(eqn: JaxprEqn, calls: Sequence[JaxprEqn] = ()) -> int:
    """How many derivatives, one of the other, the user's own code takes of what the equation belongs to.

    `calls` are the equations around it: the names inside a called function begin anew.
    """
    return sum(str(each.source_info.name_stack).count("jvp(") for each in (eqn, *calls))


def reaching(body: Body) -> Body:
    """Only the equations that the first output needs, and that output."""
    loss = body.jaxpr.outvars[0]
    needed, kept = set() if is_literal(loss) else {loss}, []
    for eqn in reversed(body.eqns):
        if needed.intersection(eqn.outvars):
            kept.append(eqn)
            needed.update(atom for atom in eqn.invars if not is_literal(atom))
    return Body(body.jaxpr.replace(eqns=kept[::-1], outvars=[loss]), body.consts)


def part(body: Body, eqns: Sequence[JaxprEqn], reads: list[Var], writes: list[Var]) -> Body:
    """A run of neighbouring equations as a program of its own."""
    effects = frozenset().union(*(eqn.effects for eqn in eqns)) if eqns else frozenset()
    names = tuple(f"v{i}" for i in range(len(reads)))
    info = body.jaxpr.debug_info._replace(arg_names=names, result_paths=("",) * len(writes))
    return Body(Jaxpr([], reads, writes, list(eqns), effects, info), ())


def as_program(body: Body) -> Callable[..., list[Any]]:
    """The whole of a program as a function of its inputs, traceable."""
    return jaxpr_as_fun(ClosedJaxpr(body.jaxpr, list(body.consts)))  # type: ignore[no-any-return]


def as_function(
    body: Body, eqns: Sequence[JaxprEqn], reads: list[Var], writes: list[Var]
) -> Callable[..., Any]:
    """A run of neighbouring equations as a function from the values they read to those they write."""
    return jaxpr_as_fun(ClosedJaxpr(part(body, eqns, reads, writes).jaxpr, []))  # type: ignore[no-any-return]
