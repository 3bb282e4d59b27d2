"""A program whose equations keep a number of their own in all that compiling makes of them.

The name stack of an equation goes into the metadata of what it is lowered to, through differentiation, loops
and calls, and further into what XLA makes of that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

from gradscope.trace.jaxprs.programs import Body

MARK = "gradscope_at_"
_NUMBER = re.compile(rf"{MARK}(\d+)")


@dataclass(frozen=True)
class MarkedProgram:
    body: Body
    equations: tuple[JaxprEqn, ...]
    """Those of the program as it was, by their number; of a function that several call, once."""

    def place(self, name: str) -> tuple[JaxprEqn, tuple[JaxprEqn, ...]] | None:
        """The equation that something with this name was made for, and the calls around it, innermost first;
        `None` for what stands for none."""
        found = [self.equations[int(number)] for number in _NUMBER.findall(name)]
        return (found[-1], tuple(found[-2::-1])) if found else None


def marked(body: Body) -> MarkedProgram:
    """The same program, each equation at any depth with its number in its name stack. Rules of a
    `custom_vjp` have that of its call."""
    equations: list[JaxprEqn] = []
    known: dict[int, Any] = {}

    def value(each: Any) -> Any:
        if isinstance(each, Jaxpr | ClosedJaxpr):
            if id(each) not in known:
                known[id(each)] = jaxpr(each)
            return known[id(each)]
        if isinstance(each, tuple | list) and any(isinstance(part, Jaxpr | ClosedJaxpr) for part in each):
            return type(each)(value(part) for part in each)
        return each

    def jaxpr(each: Any) -> Any:
        if hasattr(each, "jaxpr") and each.jaxpr is not each:  # JAX 0.10: closed and open are two classes
            return each.replace(jaxpr=jaxpr(each.jaxpr))
        return each.replace(eqns=[equation(eqn) for eqn in each.eqns])

    def equation(eqn: Any) -> Any:
        name = f"{MARK}{len(equations)}"
        equations.append(eqn)
        info = eqn.source_info.replace(name_stack=eqn.source_info.name_stack.extend(name))
        return eqn.replace(source_info=info, params={key: value(each) for key, each in eqn.params.items()})

    return MarkedProgram(Body(jaxpr(body.jaxpr), body.consts), tuple(equations))
