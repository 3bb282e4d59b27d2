"""A program with some of its equations exchanged, at any depth."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

from gradscope.trace.jax_compat.programs import Body, body_of


def without_stop_gradient(body: Body) -> Body:
    """The same values, with a gradient where the user's `stop_gradient` cuts it.

    Bodies of custom rules are left alone: their derivative is the rule's, whatever stands inside.
    """
    return Body(_rewritten(body.jaxpr), body.consts)


def _rewritten(jaxpr: Any) -> Any:
    if hasattr(jaxpr, "jaxpr") and jaxpr.jaxpr is not jaxpr:  # JAX 0.10: closed and open are two classes
        return jaxpr.replace(jaxpr=_rewritten(jaxpr.jaxpr))
    return jaxpr.replace(eqns=[_exchanged(eqn) for eqn in jaxpr.eqns])


def _exchanged(eqn: JaxprEqn) -> Any:
    if eqn.primitive.name == "stop_gradient":
        return eqn.replace(primitive=_copy(), params={})
    if eqn.primitive.name.startswith("custom_") or not any(map(_holds_jaxpr, eqn.params.values())):
        return eqn
    return eqn.replace(params={key: _replaced(value) for key, value in eqn.params.items()})


def _holds_jaxpr(value: Any) -> bool:
    parts = value if isinstance(value, tuple | list) else (value,)
    return any(isinstance(part, Jaxpr | ClosedJaxpr) for part in parts)


def _replaced(value: Any) -> Any:
    if isinstance(value, Jaxpr | ClosedJaxpr):
        return _rewritten(value)
    if _holds_jaxpr(value):
        return type(value)(_replaced(part) for part in value)
    return value


@cache
def _copy() -> Any:
    """The primitive of the identity, which has a gradient."""
    return body_of(jax.make_jaxpr(jnp.copy)(1.0)).eqns[0].primitive
