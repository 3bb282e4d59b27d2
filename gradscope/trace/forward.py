"""Runs a jaxpr for its values alone, entering everything that a gradient need not come back through.

`interpret` rebuilds a program so that it can be differentiated; here nothing is, so the jaxprs of custom
rules and of `while` can be entered too, and a state can be threaded through all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax.extend.core import JaxprEqn

from gradscope.trace.jaxprs import Body
from gradscope.trace.nested.contract import Entry, Inside
from gradscope.trace.nested.registry import inside, rebuild
from gradscope.trace.walk import Path, straight


def entries(eqn: JaxprEqn) -> tuple[Entry, ...]:
    """The jaxprs of an equation that can be entered; none where it runs on the devices of a mesh."""
    carried = inside(eqn)
    return () if carried is None or carried.shards is not None else carried.entries


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

    def operands(self, path: Path, values: list[Any]) -> list[Any]:
        """What the equation at `path` is given, in the place of its operands."""
        del path
        return values

    def made(self, path: Path, outs: list[Any], state: Any) -> tuple[list[Any], Any]:
        """The results of the equation at `path`, and the state after it."""
        del path
        return outs, state

    def seen(self, path: Path, values: list[Any], state: Any) -> Any:
        """The state after the operands of the equation at `path` are known."""
        del path, values
        return state

    def run(self, body: Body, args: Sequence[Any], state: Any, path: Path = ()) -> tuple[list[Any], Any]:
        """The outputs of `body` at `args`, and the state after it."""

        def equation(index: int, eqn: JaxprEqn, values: list[Any]) -> list[Any]:
            nonlocal state
            at = (*path, index)
            values = self.operands(at, values)
            state = self.seen(at, values, state)
            carried = inside(eqn) if entries(eqn) and self.enters(eqn, at) else None
            if carried is None:
                outs = self.plain(eqn, values)
            else:
                outs, state = self._enter(eqn, carried, values, state, at)
            outs, state = self.made(at, outs, state)
            return outs

        return straight(body, args, body.consts, self.constant, equation), state

    def _enter(
        self, eqn: JaxprEqn, carried: Inside, values: list[Any], state: Any, at: Path
    ) -> tuple[list[Any], Any]:
        def run(entry: Entry, values: list[Any], state: Any, row: Any) -> tuple[list[Any], Any, Any]:
            return *self.run(entry.body, values, state, (*at, entry.number)), row

        if carried.calls:
            # In place: a checkpoint would only keep XLA from seeing through it, and a rule is not wanted.
            return run(carried.entries[0], values, state, ())[:2]
        return rebuild(eqn, values, run, state, ())[:2]
