"""Finds a loop whose steps are the examples of the batch, and whose state has a row for each of their places.

(examples, steps, features) is scanned along its first axis: the state goes from example to example, and what
stands side by side in it are the steps. A series that is one example has no further axis that its state
could count; a batch with its steps first has targets for the rows of the state.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.domains.located import Place
from gradscope.trace.domains.objective.axes import COUNTING, Along, shape_of
from gradscope.trace.domains.objective.example_pairs import ByExample, ExamplePairs
from gradscope.trace.program import Program
from gradscope.trace.walk import Visit, walk


@dataclass(frozen=True)
class Scanned:
    eqn: JaxprEqn
    calls: tuple[JaxprEqn, ...]
    rows: tuple[int, ...]
    """Shape of what is scanned."""
    places: int
    """Of an example, that the state has rows for."""
    site: int | None


def scans_of_examples(program: Program, examples: int, inputs: list[int]) -> list[Scanned]:
    """In the order of the program; `inputs` are those that count examples along their first axis."""
    body = program.body
    shapes = {i: shape_of(body.jaxpr.invars[i]) for i in inputs}
    places = {shape[1] for shape in shapes.values() if len(shape) > 1 and shape[1] > 1}
    if not places or not jaxprs.has_primitive(body, frozenset({"scan"})):
        return []
    over = _walked(program, examples, {i: 0 for i in inputs})
    found = list[Scanned]()
    for size in sorted(places):
        along = _walked(program, size, {i: 1 for i, shape in shapes.items() if shape[1:2] == (size,)})
        if along.summed_with_weights:
            continue
        for key, (visit, calls) in over.over.items():
            if key in along.carried:
                rows = next(v for v in visit.values if v.axes[:1] and v.axes[0] in COUNTING)
                shape = shape_of(visit.eqn.invars[visit.values.index(rows)])
                found.append(Scanned(visit.eqn, calls, shape, size, rows.site))
    return found


def _walked(program: Program, size: int, axes: dict[int, int]) -> _Scans:
    domain = _Scans(size, closed_over=False)
    weights = len(program.leaves)
    values = []
    for i, var in enumerate(program.body.jaxpr.invars):
        marks = tuple(
            Along.EXAMPLES if axes.get(i) == axis and length == size else Along.NONE
            for axis, length in enumerate(shape_of(var))
        )
        values.append(ByExample(marks, learned=i < weights))
    walk(domain, program.body, values, program.plan)
    return domain


class _Scans(ExamplePairs):
    """Of the axis that is marked, wherever it goes."""

    def __init__(self, size: int, *, closed_over: bool) -> None:
        super().__init__(size, closed_over=closed_over)
        self.over: dict[int, tuple[Visit[ByExample, Place], tuple[JaxprEqn, ...]]] = {}
        """Loops whose steps it counts."""
        self.carried: set[int] = set()
        """Loops that carry it in a state with further axes."""
        self.summed_with_weights = False
        """Features are; places are not."""

    def leaving(
        self, visit: Visit[ByExample, Place], carried: list[ByExample], outs: list[ByExample]
    ) -> list[ByExample]:
        if visit.inside.loop is not None:
            (entry,) = visit.inside.entries
            if any(visit.values[entry.operands[i]].axes[0] in COUNTING for i in entry.rows):
                self.over[id(visit.eqn)] = visit, self.around[1:]
            marks = [value.axes for value in outs[: len(carried)]]
            if any(len(axes) > 1 and not COUNTING.isdisjoint(axes) for axes in marks):
                self.carried.add(id(visit.eqn))
        return super().leaving(visit, carried, outs)

    def plain(self, eqn: JaxprEqn, values: list[ByExample], place: Place, index: int) -> list[ByExample]:
        if eqn.primitive.name == "dot_general":
            for side in (0, 1):
                _, summed, _ = jaxprs.axes_of_product(eqn, side)
                marked = any(values[side].axes[axis] in COUNTING for axis in summed)
                self.summed_with_weights |= marked and _is_weight(values[1 - side])
        outs = super().plain(eqn, values, place, index)
        if eqn.primitive.name == "split":
            at = jaxprs.axis_of(eqn)
            axes = (*values[0].axes[:at], Along.NONE, *values[0].axes[at + 1 :])
            outs = [replace(out, axes=axes) for out in outs]
        return outs


def _is_weight(value: ByExample) -> bool:
    return value.learned and COUNTING.isdisjoint(value.axes)
