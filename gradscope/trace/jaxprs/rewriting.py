"""A program with some of its equations exchanged, at any depth."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

from gradscope.trace.jaxprs.custom_rules import RuleKey, custom_rule
from gradscope.trace.jaxprs.programs import Body, body_of

Exchange = Callable[[JaxprEqn], JaxprEqn | None]
"""What stands in place of an equation; `None` where it stays and what it carries is looked into."""


def without_stop_gradient(body: Body) -> Body:
    """The same values, with a gradient where the user's `stop_gradient` cuts it.

    Bodies of custom rules are left alone: their derivative is the rule's, whatever stands inside.
    """

    def exchange(eqn: JaxprEqn) -> JaxprEqn | None:
        if eqn.primitive.name == "stop_gradient":
            return _as_equation(eqn.replace(primitive=_identity().primitive, params={}))
        return eqn if eqn.primitive.name.startswith("custom_") else None

    return Body(_rewritten(body.jaxpr, exchange), body.consts)


def without_custom_rules(body: Body, keys: Collection[RuleKey]) -> Body:
    """The same values, with the functions of these rules differentiated as they are written."""

    def exchange(eqn: JaxprEqn) -> JaxprEqn | None:
        rule = custom_rule(eqn)
        if rule is None:
            return None
        if rule.key not in keys or rule.body.consts:
            return eqn
        params = {**_call().params, "jaxpr": rule.body.jaxpr}
        return _as_equation(eqn.replace(primitive=_call().primitive, params=params))

    return Body(_rewritten(body.jaxpr, exchange), body.consts)


def with_functions(body: Body, functions: Mapping[int, Callable[..., Any]]) -> Body:
    """The program in which other functions stand in the place of equations, by the `id` of each.

    A function takes the operands and gives the one result; what is traced of it must hold no constants but
    numbers. An equation of a body that runs several times is exchanged in all of its runs.
    """

    def exchange(eqn: JaxprEqn) -> JaxprEqn | None:
        function = functions.get(id(eqn))
        if function is None:
            return None
        shapes = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in eqn.invars]  # type: ignore
        other = body_of(jax.make_jaxpr(function)(*shapes))
        assert not other.consts
        params = {**_call().params, "jaxpr": other.jaxpr}
        return _as_equation(eqn.replace(primitive=_call().primitive, params=params))

    return Body(_rewritten(body.jaxpr, exchange), body.consts)


def _rewritten(jaxpr: Any, exchange: Exchange) -> Any:
    if hasattr(jaxpr, "jaxpr") and jaxpr.jaxpr is not jaxpr:  # JAX 0.10: closed and open are two classes
        return jaxpr.replace(jaxpr=_rewritten(jaxpr.jaxpr, exchange))
    return jaxpr.replace(eqns=[_exchanged(eqn, exchange) for eqn in jaxpr.eqns])


def _exchanged(eqn: JaxprEqn, exchange: Exchange) -> JaxprEqn:
    other = exchange(eqn)
    if other is not None or not any(map(_holds_jaxpr, eqn.params.values())):
        return other or eqn
    params = {key: _replaced(value, exchange) for key, value in eqn.params.items()}
    return _as_equation(eqn.replace(params=params))


def _holds_jaxpr(value: Any) -> bool:
    parts = value if isinstance(value, tuple | list) else (value,)
    return any(isinstance(part, Jaxpr | ClosedJaxpr) for part in parts)


def _replaced(value: Any, exchange: Exchange) -> Any:
    if isinstance(value, Jaxpr | ClosedJaxpr):
        return _rewritten(value, exchange)
    if _holds_jaxpr(value):
        return type(value)(_replaced(part, exchange) for part in value)
    return value


def _as_equation(eqn: Any) -> JaxprEqn:
    return eqn  # type: ignore[no-any-return]


@cache
def _identity() -> JaxprEqn:
    """An identity that has a gradient."""
    return body_of(jax.make_jaxpr(jnp.copy)(1.0)).eqns[0]


@cache
def _call() -> JaxprEqn:
    """An equation that does nothing but run the program that it carries."""
    return body_of(jax.make_jaxpr(jax.checkpoint(jnp.sin))(1.0)).eqns[0]
