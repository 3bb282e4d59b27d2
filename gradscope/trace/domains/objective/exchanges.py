"""Finds a `reshape` that exchanges the axis of the examples and another one without moving any element.

(examples, steps) becomes (steps, examples) in the order in which the elements lie: a row of the result holds
parts of several examples. What was wanted is a transpose.
"""

from __future__ import annotations

from dataclasses import dataclass

from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.domains.located import Place
from gradscope.trace.domains.objective.axes import COUNTING, shape_of
from gradscope.trace.domains.objective.example_pairs import ByExample, ExamplePairs
from gradscope.trace.program import Program
from gradscope.trace.walk import walk


@dataclass(frozen=True)
class Exchange:
    eqn: JaxprEqn
    calls: tuple[JaxprEqn, ...]
    axis: int
    """Of the examples in the operand."""
    site: int | None


def exchanges(program: Program, examples: int, inputs: list[int]) -> list[Exchange]:
    """In the order of the program; `inputs` are those that count examples along their first axis."""
    body = program.body
    if not any(_exchanges(eqn, examples) for top in body.eqns for eqn in jaxprs.all_equations(top)):
        return []
    domain = _Exchanges(examples, closed_over=not inputs)
    values = [
        domain.data(shape_of(var)) if i in inputs else domain.literal(var, None)
        for i, var in enumerate(body.jaxpr.invars)
    ]
    walk(domain, body, values, program.plan)
    return list(domain.found.values())


def _exchanges(eqn: JaxprEqn, examples: int) -> bool:
    if eqn.primitive.name != "reshape":
        return False
    before, after = shape_of(eqn.invars[0])[:2], shape_of(eqn.outvars[0])[:2]
    straight = jaxprs.order_before(eqn) == tuple(range(len(shape_of(eqn.invars[0]))))
    return straight and before == after[::-1] != after and examples in before and 1 not in before


class _Exchanges(ExamplePairs):
    def __init__(self, examples: int, *, closed_over: bool) -> None:
        super().__init__(examples, closed_over=closed_over)
        self._count = examples
        self.found: dict[int, Exchange] = {}

    def plain(self, eqn: JaxprEqn, values: list[ByExample], place: Place, index: int) -> list[ByExample]:
        if _exchanges(eqn, self._count):
            along = [axis for axis, mark in enumerate(values[0].axes[:2]) if mark in COUNTING]
            if along:
                calls = self.around[1:]
                self.found.setdefault(id(eqn), Exchange(eqn, calls, along[0], values[0].site))
        return super().plain(eqn, values, place, index)
