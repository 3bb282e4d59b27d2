"""A program without the calls around its parts: a loss under `jit` is one equation otherwise."""

from __future__ import annotations

from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.jaxprs import Body
from gradscope.trace.nested.registry import called_in_place
from gradscope.trace.vocabulary import PRODUCTS

SMALL = 16
"""Equations of a function without products, as those of `jax.nn`, that stays one equation."""


def flattened(body: Body) -> Body:
    """The equations that the first output needs, those of large functions that are called in their place."""
    return jaxprs.reaching(jaxprs.written_out(jaxprs.reaching(body), _large).body)


def _large(eqn: JaxprEqn) -> Body | None:
    called = called_in_place(eqn)
    large = called is not None and (len(called.eqns) > SMALL or jaxprs.has_primitive(called, PRODUCTS))
    return called if large else None
