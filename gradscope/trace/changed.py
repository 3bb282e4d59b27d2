"""Runs the forward program with the operands or the results of some equations changed, at any depth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.forward import Forward
from gradscope.trace.nested.registry import has_own_rule
from gradscope.trace.walk import Path

Change = Callable[[list[Any]], list[Any]]
"""Traceable: from the values of all operands, or of all results, to those that stand in their place."""


class Changed(Forward):
    """One program. The functions around such an equation are taken apart, so that none of them may have a
    derivative rule of its own."""

    def __init__(self, operands: Mapping[Path, Change], results: Mapping[Path, Change]) -> None:
        self._operands, self._results = operands, results
        at = [*operands, *results]
        self._above = {path[: 2 * depth + 1] for path in at for depth in range(len(path) // 2)}

    def enters(self, eqn: JaxprEqn, path: Path) -> bool:
        return path in self._above and not has_own_rule(eqn)

    def plain(self, eqn: JaxprEqn, values: list[Any]) -> list[Any]:
        # What gives nothing prints, and has printed already.
        return jaxprs.run_equation(eqn, values) if eqn.outvars else []

    def operands(self, path: Path, values: list[Any]) -> list[Any]:
        change = self._operands.get(path)
        return values if change is None else change(values)

    def made(self, path: Path, outs: list[Any], state: Any) -> tuple[list[Any], Any]:
        change = self._results.get(path)
        return outs if change is None else change(outs), state
