"""Runs a jaxpr for its values alone, entering everything that a gradient need not come back through.

`interpret` rebuilds a program so that it can be differentiated; here nothing is, so the bodies of custom
rules and of `while` can be entered too, and a state can be threaded through all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.jaxprs import Body

Path = tuple[int, ...]
"""Where an equation stands: its index, then for each level inside the number of the body and the index."""

CALLS = frozenset(
    {"jit", "pjit", "closed_call", "core_call", "named_call", "eval_jaxpr", "checkpoint", "remat", "remat2"}
    | {"custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"}
)
"""What is entered as if it were written out."""

LOOPS = frozenset({"scan", "while"})
ENTERED = CALLS | LOOPS | {"cond"}


def bodies(eqn: JaxprEqn) -> list[Body]:
    """The programs of an equation in the order of their numbers in a path; none where it is not entered."""
    name = eqn.primitive.name
    if name in CALLS:
        return [jaxprs.called_body(eqn)]
    if name == "scan":
        return [jaxprs.scan_params(eqn).body]
    if name == "while":
        return [jaxprs.while_params(eqn).body]
    return list(jaxprs.branches(eqn)) if name == "cond" else []


class Forward:
    """One run. What a subclass does at an equation is up to it; `state` is any pytree of arrays."""

    def enters(self, eqn: JaxprEqn, path: Path) -> bool:
        """Whether the equation is taken apart; else `plain` runs it."""
        raise NotImplementedError

    def plain(self, eqn: JaxprEqn, values: list[Any]) -> list[Any]:
        raise NotImplementedError

    def constant(self, atom: Any) -> Any:
        """The value of a literal."""
        return jnp.asarray(atom.val, atom.aval.dtype)

    def seen(self, path: Path, values: list[Any], state: Any) -> Any:
        """The state after the operands of the equation at `path` are known."""
        del path, values
        return state

    def run(self, body: Body, args: Sequence[Any], state: Any, path: Path = ()) -> tuple[list[Any], Any]:
        """The outputs of `body` at `args`, and the state after it."""
        env: dict[Any, Any] = dict(zip(body.jaxpr.constvars, body.consts, strict=True))
        env.update(zip(body.jaxpr.invars, args, strict=True))

        def read(atom: Any) -> Any:
            return self.constant(atom) if jaxprs.is_literal(atom) else env[atom]

        for index, eqn in enumerate(body.eqns):
            values = [read(atom) for atom in eqn.invars]
            at = (*path, index)
            state = self.seen(at, values, state)
            if eqn.primitive.name in ENTERED and self.enters(eqn, at):
                outs, state = self._enter(eqn, values, state, at)
            else:
                outs = self.plain(eqn, values)
            env.update(zip(eqn.outvars, outs, strict=True))
        return [read(atom) for atom in body.jaxpr.outvars], state

    def _enter(self, eqn: JaxprEqn, values: list[Any], state: Any, at: Path) -> tuple[list[Any], Any]:
        name = eqn.primitive.name
        if name == "cond":
            return self._cond(eqn, values, state, at)
        if name == "scan":
            return self._scan(eqn, values, state, at)
        if name == "while":
            return self._while(eqn, values, state, at)
        return self.run(jaxprs.called_body(eqn), values, state, (*at, 0))

    def _cond(self, eqn: JaxprEqn, values: list[Any], state: Any, at: Path) -> tuple[list[Any], Any]:
        def branch(number: int, body: Body) -> Callable[..., Any]:
            return lambda operands, state: self.run(body, operands, state, (*at, number))

        ways = [branch(number, body) for number, body in enumerate(jaxprs.branches(eqn))]
        return lax.switch(values[0], ways, values[1:], state)  # type: ignore[no-any-return]

    def _scan(self, eqn: JaxprEqn, values: list[Any], state: Any, at: Path) -> tuple[list[Any], Any]:
        p = jaxprs.scan_params(eqn)
        consts, carry, rows = (
            values[: p.consts],
            values[p.consts : p.consts + p.carry],
            values[p.consts + p.carry :],
        )

        def step(before: Any, row: Any) -> Any:
            carry, state = before
            outs, state = self.run(p.body, [*consts, *carry, *row], state, (*at, 0))
            return (outs[: p.carry], state), outs[p.carry :]

        (carry, state), ys = lax.scan(step, (carry, state), rows, p.length, reverse=p.reverse)
        return [*carry, *ys], state

    def _while(self, eqn: JaxprEqn, values: list[Any], state: Any, at: Path) -> tuple[list[Any], Any]:
        p = jaxprs.while_params(eqn)
        first, last = p.condition_consts, p.condition_consts + p.body_consts
        asked, consts, carry = values[:first], values[first:last], values[last:]

        def goes_on(now: Any) -> Any:
            outs, _ = self.run(p.condition, [*asked, *now[0]], None, (*at, 1))
            return outs[0]

        def step(now: Any) -> Any:
            return self.run(p.body, [*consts, *now[0]], now[1], (*at, 0))

        carry, state = lax.while_loop(goes_on, step, (carry, state))
        return list(carry), state
