"""A program without the calls around its parts: a loss under `jit` is one equation otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.interpret import run_plain
from gradscope.trace.jaxprs import Body
from gradscope.trace.vocabulary import PRODUCTS

_CALLS = frozenset({"jit", "closed_call"})
SMALL = 16
"""Equations of a function without products, as those of `jax.nn`, that stays one equation."""


def flattened(body: Body) -> Body:
    """The equations that the first output needs, those of large functions that are called in their place."""
    body = jaxprs.reaching(body)
    if not any(map(_opens, body.eqns)):
        return body
    shapes = [_shape(var) for var in body.jaxpr.invars]
    return jaxprs.reaching(jaxprs.body_of(jax.make_jaxpr(lambda *args: _run(body, args))(*shapes)))


def _opens(eqn: JaxprEqn) -> bool:
    if eqn.primitive.name not in _CALLS:
        return False
    called = jaxprs.called_body(eqn)
    return len(called.eqns) > SMALL or jaxprs.has_primitive(called, PRODUCTS)


def _run(body: Body, args: Sequence[Any]) -> list[Any]:
    env: dict[Any, Any] = dict(zip(body.jaxpr.constvars, body.consts, strict=True))
    env.update(zip(body.jaxpr.invars, args, strict=True))

    def read(atom: Any) -> Any:
        return atom.val if jaxprs.is_literal(atom) else env[atom]

    waiting: list[JaxprEqn] = []
    for eqn in body.eqns:
        if _opens(eqn):
            run_plain(body, waiting, env)
            waiting = []
            outs = _run(jaxprs.called_body(eqn), [read(atom) for atom in eqn.invars])
            env.update(zip(eqn.outvars, outs, strict=True))
        else:
            waiting.append(eqn)
    run_plain(body, waiting, env)
    return [read(atom) for atom in body.jaxpr.outvars]


def _shape(var: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(var.aval.shape, var.aval.dtype, weak_type=var.aval.weak_type)  # type: ignore[no-untyped-call]
