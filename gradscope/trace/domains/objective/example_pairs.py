"""Finds values of each example that meet those of every other one by broadcasting: (N, 1) against (N,).

The result has the examples along two axes. Where both are summed alike on the way to the loss, every example
was compared with all of them; what treats the two axes differently (a softmax over one, a diagonal, a
maximum) or weighs the pairs is a program that means pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import Any

from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.domains.located import Located, Place
from gradscope.trace.domains.objective.axes import (
    COUNTING,
    Along,
    Axes,
    across,
    broadcast,
    joined,
    looked_up,
    moved,
    of_elementwise,
    of_product,
    reshaped,
    shape_of,
    side_by_side,
)
from gradscope.trace.domains.objective.pairs import Pair, together, unlike
from gradscope.trace.nested.contract import Entry
from gradscope.trace.vocabulary import VIEWS
from gradscope.trace.walk import Visit

_IN_ORDER = ("cum", "sort", "rev", "scatter", "dynamic_", "reduce_window", "select_and")
"""Operations that keep the shape, and treat the elements along an axis differently."""


@dataclass(frozen=True, slots=True)
class ByExample:
    """What is known of one value."""

    axes: Axes = ()
    written: tuple[int, ...] = ()
    """Its shape before NumPy promoted its rank; empty where it did not."""
    learned: bool = False
    """It depends on the parameters."""
    name: int = 0
    """The same for the same value in another arrangement."""
    pairs: tuple[Pair, ...] = ()
    summed: int = 0
    """Meetings of which all axes are summed."""
    meant: int = 0
    """Meetings of which something used the pairs as pairs."""
    site: int | None = None


@dataclass(frozen=True)
class Meeting:
    """The operation that made the pairs."""

    number: int
    eqn: JaxprEqn
    calls: tuple[JaxprEqn, ...]
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    """Of the operand whose examples stay where they are, and of the other one before it was promoted."""
    asked: bool
    """The axis of the first one was written out."""
    targets: bool
    """One operand depends on the parameters, and the other one does not."""
    examples: int
    """Along each of the two axes."""
    site: int | None


class ExamplePairs(Located[ByExample]):
    """The state of one walk."""

    def __init__(self, examples: int, *, closed_over: bool) -> None:
        """`closed_over`: the loss takes no batch, and its data are the arrays that it closes over."""
        self._examples, self._closed_over = examples, closed_over
        self.meetings: dict[tuple[int, int], Meeting] = {}
        self._names = 0

    def data(self, shape: Sequence[int]) -> ByExample:
        """An array of the batch."""
        return ByExample(
            tuple(
                Along.EXAMPLES if axis == 0 and size == self._examples else Along.NONE
                for axis, size in enumerate(shape)
            )
        )

    def literal(self, atom: Any, place: Place) -> ByExample:
        del place
        return ByExample((Along.NONE,) * len(shape_of(atom)))

    def constant(self, value: Any, place: Place) -> ByExample:
        del place
        shape = getattr(value, "shape", ())
        return self.data(shape) if self._closed_over else ByExample((Along.NONE,) * len(shape))

    def at_site(self, value: ByExample, site: int) -> ByExample:
        return replace(value, site=site)

    def bound(self, value: ByExample) -> ByExample:
        if value.name:
            return value
        self._names += 1
        return replace(value, name=self._names)

    def join(self, values: list[ByExample]) -> ByExample:
        axes = tuple(
            marks[0] if len(set(marks)) == 1 else Along.NONE
            for marks in zip(*(value.axes for value in values), strict=True)
        )
        name = values[0].name if len({value.name for value in values}) == 1 else 0
        return replace(_gathered(values), axes=axes, name=name)

    def settled(self, one: ByExample, other: ByExample) -> bool:
        return replace(one, name=0) == replace(other, name=0)

    def entering(self, visit: Visit[ByExample, Place], entry: Entry) -> list[ByExample]:
        ins = super().entering(visit, entry)
        return [_row(value) if i in entry.rows else value for i, value in enumerate(ins)]

    def leaving(
        self, visit: Visit[ByExample, Place], carried: list[ByExample], outs: list[ByExample]
    ) -> list[ByExample]:
        if visit.inside.loop is None:
            return outs
        (entry,) = visit.inside.entries
        rows = [visit.values[entry.operands[i]] for i in entry.rows]
        over = any(row.axes[0] in COUNTING for row in rows)
        lead = Along.EXAMPLES if over else Along.NONE
        return [*carried, *(_stacked(out, lead) for out in outs[len(carried) :])]

    def plain(self, eqn: JaxprEqn, values: list[ByExample], place: Place, index: int) -> list[ByExample]:
        found = _gathered(values)
        before = _bits(found.pairs)
        if len(eqn.outvars) != 1 or not values:
            lost = replace(found, pairs=(), meant=found.meant | before)
            return [replace(lost, axes=(Along.NONE,) * len(shape_of(var))) for var in eqn.outvars]
        out = self._result(eqn, values, found, place, index)
        ended = tuple(pair for pair in out.pairs if not pair.axes)
        return [
            replace(
                out,
                pairs=tuple(pair for pair in out.pairs if pair.axes),
                summed=out.summed | _bits(ended),
                meant=out.meant | (before & ~_bits(out.pairs)),
            )
        ]

    def _result(
        self, eqn: JaxprEqn, ins: list[ByExample], found: ByExample, place: Place, index: int
    ) -> ByExample:
        """Of an equation with one result; a pair that it does not hand on is lost."""
        name, rank = eqn.primitive.name, len(shape_of(eqn.outvars[0]))
        moves = jaxprs.moves(eqn)
        if name == "reshape":
            axes, where = reshaped(eqn, ins[0].axes)
            pairs = tuple(pair.moved(where.get) for pair in found.pairs)
            return replace(found, axes=axes, pairs=pairs, name=ins[0].name)
        if name == "broadcast_in_dim" and moves:
            promoted = jaxprs.is_promotion(eqn) and jaxprs.leads(eqn)
            written = ins[0].written or shape_of(eqn.invars[0]) if promoted else ()
            pairs = tuple(pair.moved(moves[0].__getitem__) for pair in found.pairs)
            axes = broadcast(eqn, ins[0].axes)
            return replace(found, axes=axes, pairs=pairs, name=ins[0].name, written=written)
        if moves and len(moves) == 1:
            view = name in VIEWS
            kept = [
                pair for pair in found.pairs if view or name == "reduce_sum" or not _touched(pair, moves[0])
            ]
            pairs = tuple(pair.moved(moves[0].__getitem__) for pair in kept)
            axes = moved(moves[0], ins[0].axes, rank)
            return replace(found, axes=axes, pairs=pairs, name=ins[0].name if view else 0)
        if moves:
            marks = [moved(each, value.axes, rank) for each, value in zip(moves, ins, strict=True)]
            return replace(found, axes=of_product(marks, rank), pairs=())
        if name == "gather":
            return replace(found, axes=looked_up(eqn, ins[0].axes, ins[1].axes), pairs=())
        if name == "stack":
            at = jaxprs.axis_of(eqn)
            return replace(found, axes=(*ins[0].axes[:at], Along.NONE, *ins[0].axes[at:]), pairs=())
        if name == "concatenate":
            return replace(found, axes=joined(eqn, [value.axes for value in ins]), pairs=())
        met = side_by_side(eqn, [value.axes for value in ins])
        if met is None:
            return replace(found, axes=(Along.NONE,) * rank, pairs=())
        out = replace(found, axes=of_elementwise(met, rank))
        if name.startswith(_IN_ORDER):
            return replace(out, pairs=())
        if len(ins) == 1 and (name in VIEWS or name in ("neg", "stop_gradient")):
            return replace(out, name=ins[0].name, written=ins[0].written)
        return replace(out, pairs=self._paired(eqn, ins, met, found.pairs, place, index))

    def _paired(
        self,
        eqn: JaxprEqn,
        ins: list[ByExample],
        met: list[Axes],
        alive: tuple[Pair, ...],
        place: Place,
        index: int,
    ) -> tuple[Pair, ...]:
        """Of an elementwise operation: those that go on as they are, and one that begins here."""
        operands = [(axes, value.pairs) for axes, value in zip(met, ins, strict=True)]
        kept = tuple(pair for pair in alive if not unlike(eqn, pair, operands))
        for stays, comes in ((a, b) for a in range(len(ins)) for b in range(len(ins)) if a != b):
            a, b = ins[stays], ins[comes]
            where = across(met[stays], met[comes])
            if where is None or a.name == b.name or not (a.learned or b.learned):
                continue
            asked = met[stays][where[1]] is Along.ASKED
            shapes = [each.written or shape_of(eqn.invars[i]) for each, i in ((a, stays), (b, comes))]
            meeting = Meeting(
                len(self.meetings),
                eqn,
                self.around[1:],
                (shapes[0], shapes[1]),
                asked,
                a.learned != b.learned,
                shape_of(eqn.outvars[0])[where[0]],
                max((each.site for each in ins if each.site is not None), default=None),
            )
            begun = self.meetings.setdefault((id(place), index), meeting)
            return (*kept, Pair(begun.number, frozenset(where)))
        return kept


def _touched(pair: Pair, moves: jaxprs.Moves) -> bool:
    return any(moves[axis] is None for axis in pair.axes)


def _bits(pairs: Sequence[Pair]) -> int:
    return reduce(or_, (1 << pair.number for pair in pairs), 0)


def _gathered(values: Sequence[ByExample]) -> ByExample:
    """What a result of these has in any case."""
    pairs, apart = together(pair for value in values for pair in value.pairs)
    return ByExample(
        learned=any(value.learned for value in values),
        pairs=pairs,
        summed=reduce(or_, (value.summed for value in values), 0),
        meant=reduce(or_, (value.meant for value in values), apart),
        site=max((value.site for value in values if value.site is not None), default=None),
    )


def _row(value: ByExample) -> ByExample:
    """One step's part of a value."""
    kept = tuple(pair.moved(lambda axis: axis - 1) for pair in value.pairs if 0 not in pair.axes)
    lost = _bits(value.pairs) & ~_bits(kept)
    return replace(value, axes=value.axes[1:], pairs=kept, meant=value.meant | lost, name=0, written=())


def _stacked(value: ByExample, lead: Along) -> ByExample:
    pairs = tuple(pair.moved(lambda axis: axis + 1) for pair in value.pairs)
    return replace(value, axes=(lead, *value.axes), pairs=pairs, name=0, written=())
