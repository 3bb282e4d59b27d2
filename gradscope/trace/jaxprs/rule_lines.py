"""Lets the equations of a user's backward rule keep their own lines when a program is differentiated.

JAX gives every equation that a `custom_vjp` contributes the line of the call. Around the rule that
overwriting is switched off, and the name stack says which call it belongs to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import jax
from jax._src import linear_util, source_info_util
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

from gradscope.trace.jaxprs.programs import Body

_MARK = re.compile(r"rule_of_(\d+)")


def with_rule_lines(body: Body) -> Body:
    """The same program with every `custom_vjp` in it, at any depth, marked."""
    return replace(body, jaxpr=_jaxpr(body.jaxpr))


def rule_of(eqn: JaxprEqn) -> int | None:
    """`made_at` of the `custom_vjp` whose backward rule made this equation."""
    found = _MARK.search(str(eqn.source_info.name_stack))
    return int(found[1]) if found else None


def _jaxpr(jaxpr: Any) -> Any:
    changed = [_equation(eqn) for eqn in jaxpr.eqns]
    if all(new is old for new, old in zip(changed, jaxpr.eqns, strict=True)):
        return jaxpr
    return jaxpr.replace(eqns=changed)


def _equation(eqn: Any) -> Any:
    found = {key: _value(value) for key, value in eqn.params.items()}
    if "bwd" in found and isinstance(found["bwd"], linear_util.WrappedFun):
        found["bwd"] = _marked(found["bwd"], id(eqn.source_info.traceback))
    if all(found[key] is value for key, value in eqn.params.items()):
        return eqn
    return eqn.replace(params=found)


def _value(value: Any) -> Any:
    if isinstance(value, ClosedJaxpr) and hasattr(value, "consts"):
        inner = _jaxpr(value.jaxpr)
        return value if inner is value.jaxpr else ClosedJaxpr(inner, value.consts)
    if isinstance(value, Jaxpr):
        return _jaxpr(value)
    if isinstance(value, tuple):
        inner = tuple(_value(part) for part in value)
        return value if all(a is b for a, b in zip(inner, value, strict=True)) else inner
    return value


def _marked(rule: Any, call: int) -> Any:
    def run(*args: Any) -> Any:
        with _own_lines(), jax.named_scope(f"rule_of_{call}"):
            return rule.call_wrapped(*args)

    return linear_util.wrap_init(run, debug_info=rule.debug_info)


@contextmanager
def _own_lines() -> Iterator[None]:
    """No traceback in force: each equation takes one of its own, as when the user's code is traced."""
    context = source_info_util._source_info_context
    before = context.context
    context.context = source_info_util.SourceInfo(None, before.name_stack)
    try:
        yield
    finally:
        context.context = before
