"""Single equations: run as they are, and told apart as forward or backward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, JaxprEqn, jaxpr_as_fun

from gradscope.trace.jaxprs.programs import Body, body_of


def run_equation(eqn: JaxprEqn, values: Sequence[Any]) -> list[Any]:
    """The results of the equation at other operands than its own: nothing of it is rebuilt."""
    primitive: Any = eqn.primitive
    with eqn.ctx.manager:
        outs = primitive.bind(*values, **primitive.get_bind_params(eqn.params))
    return list(outs) if primitive.multiple_results else [outs]


def as_compiled(eqn: JaxprEqn) -> Callable[..., list[Any]]:
    """The equation as a compiled function of its operands."""
    return jax.jit(lambda *values: run_equation(eqn, values))


def compiled(body: Body) -> Callable[..., list[Any]]:
    """The body of a loop as a compiled function of its inputs."""
    return jax.jit(jaxpr_as_fun(ClosedJaxpr(body.jaxpr, list(body.consts))))


@dataclass(frozen=True)
class WhileParams:
    condition: Body
    condition_consts: int
    body: Body
    body_consts: int


def while_params(eqn: JaxprEqn) -> WhileParams:
    p = eqn.params
    return WhileParams(
        body_of(p["cond_jaxpr"]), p["cond_nconsts"], body_of(p["body_jaxpr"]), p["body_nconsts"]
    )


def made_at(eqn: JaxprEqn) -> int:
    """Equal for an equation and for those that differentiating it gave: they keep its traceback.

    It is the identity of that object, so both programs have to be alive.
    """
    return id(eqn.source_info.traceback)


def is_transposed(eqn: JaxprEqn) -> bool:
    """The equation stands in the backward pass of the whole program, not of a gradient inside the loss."""
    return str(eqn.source_info.name_stack).startswith("transpose(")


def is_rematerialized(eqn: JaxprEqn) -> bool:
    return "rematted_computation" in str(eqn.source_info.name_stack)
