"""Runs the forward program with other values at chosen places, and reads what stands at others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.forward import Forward
from gradscope.trace.jaxprs import Body
from gradscope.trace.nested.registry import inside, is_called
from gradscope.trace.walk import Path

Spot = tuple[Path, int]
"""An equation that no loop or branch is around, and the number of its operand; below 0 a result: -1 is the
first."""


class Spliced(Forward):
    """One program; `reads` are the spots whose values it gives."""

    def __init__(self, reads: Sequence[Spot], puts: Sequence[Spot] = ()) -> None:
        self._reads = frozenset(reads)
        self._order = tuple(reads)
        self._at = {path for path, _ in [*reads, *puts]}
        self._above = {path[: 2 * depth + 1] for path in self._at for depth in range(len(path) // 2)}
        self._puts: Mapping[Spot, Any] = {}

    def outcome(self, body: Body, args: Sequence[Any], puts: Mapping[Spot, Any]) -> tuple[Any, list[Any]]:
        """Traceable: the loss, and the values at the spots, with those of `puts` put in."""
        outs, found = self.outcomes(body, args, puts)
        return outs[0], found

    def outcomes(
        self, body: Body, args: Sequence[Any], puts: Mapping[Spot, Any]
    ) -> tuple[list[Any], list[Any]]:
        """Traceable: all results, and the values at the spots."""
        self._puts = puts
        outs, found = self.run(body, args, {})
        return outs, [found[spot] for spot in self._order]

    def enters(self, eqn: JaxprEqn, path: Path) -> bool:
        return path in self._above and is_called(eqn)

    def plain(self, eqn: JaxprEqn, values: list[Any]) -> list[Any]:
        # What gives nothing prints, and has printed already.
        return jaxprs.run_equation(eqn, values) if eqn.outvars else []

    def operands(self, path: Path, values: list[Any]) -> list[Any]:
        if path not in self._at:
            return values
        return [self._puts.get((path, i), value) for i, value in enumerate(values)]

    def seen(self, path: Path, values: list[Any], state: dict[Spot, Any]) -> dict[Spot, Any]:
        return self._noted(state, {(path, i): value for i, value in enumerate(values)})

    def made(self, path: Path, outs: list[Any], state: dict[Spot, Any]) -> tuple[list[Any], dict[Spot, Any]]:
        if path not in self._at:
            return outs, state
        outs = [self._puts.get((path, -1 - i), out) for i, out in enumerate(outs)]
        return outs, self._noted(state, {(path, -1 - i): out for i, out in enumerate(outs)})

    def _noted(self, state: dict[Spot, Any], found: dict[Spot, Any]) -> dict[Spot, Any]:
        return state | {spot: value for spot, value in found.items() if spot in self._reads}


Made = Callable[[Sequence[Any]], Any]
"""Of the inputs of a program, and of its constants behind them."""


def with_operands(body: Body, others: Sequence[tuple[JaxprEqn, int, Made]]) -> Body:
    """The loss of a program in which operands of equations are other ones, wherever these are called. None of
    them stands in a loop."""
    spots = {(path, operand): made for eqn, operand, made in others for path in _paths(body, eqn, ())}

    def run(*inputs: Any) -> Any:
        puts = {spot: made([*inputs, *body.consts]) for spot, made in spots.items()}
        return Spliced([], list(spots)).outcome(body, inputs, puts)[0]

    shapes = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in body.jaxpr.invars]  # type: ignore
    return jaxprs.body_of(jax.make_jaxpr(run)(*shapes))


def _paths(body: Body, eqn: JaxprEqn, around: Path) -> Iterator[Path]:
    for index, each in enumerate(body.eqns):
        if each is eqn:
            yield (*around, index)
        elif is_called(each):
            carried = inside(each)
            assert carried is not None
            (entry,) = carried.entries
            yield from _paths(entry.body, eqn, (*around, index, entry.number))
