"""Finds rows that are gathered by an index, and summed by an index: the messages along the edges of a graph.

What a sum gets is followed back to the gathers, through operations that keep the rows apart. Rows that come
from elsewhere (features of the edges, positions) may hold what a neighbour has, and end the search.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.domains.located import Located, Place
from gradscope.trace.domains.objective.axes import shape_of
from gradscope.trace.domains.objective.given import Given
from gradscope.trace.leaves import split
from gradscope.trace.program import Program
from gradscope.trace.vocabulary import VIEWS
from gradscope.trace.walk import Visit, walk

_SUMS = frozenset({"scatter-add", "scatter-max", "scatter-min"})
_FACTORS = frozenset({"mul", "div"})


@dataclass(frozen=True, slots=True)
class MessageRows:
    """What is known of one value."""

    given: Given | None = field(default=None, compare=False)
    """How to compute it, where no parameter goes into it."""
    data: bool = False
    flat: bool = False
    """A copy of the same along its first axes."""
    gathers: frozenset[int] = frozenset()
    """Whose rows its own are made of, one of one; empty where that is not known."""
    site: int | None = None


@dataclass(frozen=True)
class Gather:
    index: Given
    rows: int
    """Of the table."""


@dataclass(frozen=True)
class MessageSum:
    eqn: JaxprEqn
    calls: tuple[JaxprEqn, ...]
    index: Given
    gathers: tuple[int, ...]
    site: int | None
    updates: tuple[int, ...]
    """Shape of what is summed."""


@dataclass(frozen=True)
class Messages:
    gathers: list[Gather]
    sums: list[MessageSum]
    """Of gathered rows alone, into rows that are 0 before."""


def messages(program: Program, batch: Any) -> Messages:
    body = program.body
    if not jaxprs.has_primitive(body, _SUMS) or not jaxprs.has_primitive(body, frozenset({"gather"})):
        return Messages([], [])
    last = len(body.jaxpr.invars) - 1
    first, weights = last - len(split(batch).traced), len(program.leaves)
    positions = {id(const): last + 1 + i for i, const in enumerate(body.consts)}
    domain = _Messages(positions, closed_over=first == last)
    inputs = [
        MessageRows()
        if i < weights
        else MessageRows(Given(position=i, data=first <= i < last), data=first <= i < last)
        for i in range(last + 1)
    ]
    walk(domain, body, inputs, program.plan)
    return domain.found


class _Messages(Located[MessageRows]):
    def __init__(self, positions: dict[int, int], *, closed_over: bool) -> None:
        self._positions, self._closed_over = positions, closed_over
        self.found = Messages([], [])

    def literal(self, atom: Any, place: Place) -> MessageRows:
        del place
        return MessageRows(Given(constant=np.asarray(atom.val, atom.aval.dtype)), flat=True)

    def constant(self, value: Any, place: Place) -> MessageRows:
        del place
        data = self._closed_over and math.prod(getattr(value, "shape", ())) > 1
        position = self._positions.get(id(value))
        given = Given(constant=value) if position is None else Given(position=position, data=data)
        return MessageRows(given, data=data)

    def at_site(self, value: MessageRows, site: int) -> MessageRows:
        return replace(value, site=site)

    def enters(self, visit: Visit[MessageRows, Place]) -> bool:
        return visit.inside.calls

    def join(self, values: Sequence[MessageRows]) -> MessageRows:
        sites = [value.site for value in values if value.site is not None]
        return MessageRows(data=any(value.data for value in values), site=max(sites, default=None))

    def plain(self, eqn: JaxprEqn, values: list[MessageRows], place: Place, index: int) -> list[MessageRows]:
        del place, index
        found, name = self.join(values), eqn.primitive.name
        operands = [value.given for value in values if value.given is not None]
        outs = [found] * len(eqn.outvars)
        if len(operands) == len(values) and not eqn.effects:
            made = (Given(eqn=eqn, operands=operands, position=i) for i in range(len(outs)))
            outs = [replace(found, given=each) for each in made]
        if name == "gather" and values[0].data and values[1].given is not None:
            return [replace(outs[0], gathers=self._gathered(eqn, values[1].given))]
        if name in _SUMS and not jaxprs.in_backward(eqn):
            self._sum(eqn, values)
            return outs
        if len(outs) != 1:
            return outs
        flat = name == "broadcast_in_dim" and 0 not in (jaxprs.moves(eqn) or [(0,)])[0]
        flat = flat or all(value.flat for value in values)
        return [replace(outs[0], gathers=_kept(eqn, values), flat=flat)]

    def _gathered(self, eqn: JaxprEqn, index: Given) -> frozenset[int]:
        about, shape = jaxprs.lookup(eqn), shape_of(eqn.invars[0])
        if about.batch != (0,) or about.indexed != (0,) or about.sizes[0] != 1:
            return frozenset()
        self.found.gathers.append(Gather(index, shape[0]))
        return frozenset({len(self.found.gathers) - 1})

    def _sum(self, eqn: JaxprEqn, values: list[MessageRows]) -> None:
        into, index, rows = values
        plain = len(shape_of(eqn.invars[1])) == 2 and shape_of(eqn.invars[1])[1] == 1
        if rows.gathers and index.given is not None and not into.data and into.flat and plain:
            calls, gathers = self.around[1:], tuple(sorted(rows.gathers))
            shape = shape_of(eqn.invars[2])
            self.found.sums.append(MessageSum(eqn, calls, index.given, gathers, rows.site, shape))


def _kept(eqn: JaxprEqn, values: list[MessageRows]) -> frozenset[int]:
    """The gathers whose rows the result has, one by one; none where other rows come in."""
    name, out = eqn.primitive.name, shape_of(eqn.outvars[0])
    shapes = [shape_of(atom) for atom in eqn.invars]
    own = [i for i, value in enumerate(values) if value.gathers]
    if not own or not out or any(shapes[i][:1] != out[:1] for i in own):
        return frozenset()
    joined = frozenset[int]().union(*(values[i].gathers for i in own))
    others = [i for i in range(len(values)) if i not in own]
    if name == "dot_general":
        batch, summed, _ = jaxprs.axes_of_product(eqn, own[0])
        alone = own == [0] and not batch and 0 not in summed and not values[1].data
        return joined if alone else frozenset()
    if name == "concatenate":
        return joined if jaxprs.axis_of(eqn) != 0 and not others else frozenset()
    if name in VIEWS or name.startswith("reduce_"):
        moves = jaxprs.moves(eqn)
        kept = moves is None or moves[0][:1] == (0,)
        return joined if kept and name != "rev" and len(values) == 1 else frozenset()
    if any(shape and len(shape) != len(out) for shape in shapes) or eqn.primitive.multiple_results:
        return frozenset()
    rows = [i for i in others if not values[i].flat and shapes[i][:1] == out[:1]]
    factor = name in _FACTORS and all(math.prod(shapes[i]) == out[0] for i in rows)
    return joined if name in _ELEMENTWISE and (not rows or factor) else frozenset()


_ELEMENTWISE = frozenset(
    {
        "add",
        "sub",
        "mul",
        "div",
        "max",
        "min",
        "neg",
        "abs",
        "exp",
        "log",
        "log1p",
        "expm1",
        "tanh",
        "logistic",
    }
    | {"erf", "sqrt", "rsqrt", "square", "integer_pow", "sign", "sin", "cos", "pow", "stop_gradient"}
    | {"select_n", "add_any", "custom_jvp_call", "clamp", "gt", "ge", "lt", "le"}
)
